// Activations as the products want them, one row at a time. AVX2 suffices: a row is small beside weights.
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "kernels.h"

namespace quantswarm {
namespace {

// The largest magnitude, compared as integers: sign off, floats order as their bits do, NaN above all.
float largest(const float* row, int count) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256i most = _mm256_setzero_si256();
  for (int i = 0; i < count; i += 8)
    most = _mm256_max_epi32(
        most, _mm256_and_si256(magnitude,
                               _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + i))));
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1));
  return _mm_cvtss_f32(_mm_castsi128_ps(four));
}

__m256i rounded(const float* row, __m256 up) {
  return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(row), up));
}

int sum_of(__m256i v) {
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

// 32 numbers of a byte's range, as bytes; in each eight the order is 0 4 1 5 2 6 3 7 (see kernels.h).
void store_bytes(const __m256i v[4], int8_t* to) {
  // Packing works within 128-bit halves: bytes 0-3 of vector 0, of 1, of 2, of 3; then their 4-7.
  const __m256i bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
  const __m128i low = _mm256_castsi256_si128(bytes), high = _mm256_extracti128_si256(bytes, 1);
  // Interleaved they are 0 4 1 5 2 6 3 7.
  auto* into = reinterpret_cast<__m128i*>(to);
  _mm_storeu_si128(into, _mm_unpacklo_epi8(low, high));
  _mm_storeu_si128(into + 1, _mm_unpackhi_epi8(low, high));
}

// The factor to whole numbers up to `limit`, and back; zeros stay zeros.
struct Steps {
  float up, down;
};
Steps steps_for(float most, float limit) { return {most > 0 ? limit / most : 0.0f, most / limit}; }

constexpr float kByte = 127.0f;
constexpr float kTwoBytes = 127.0f * 256 + 127;  // beyond it the high byte would be 128

}  // namespace

void widen_row(const void* from, Scalar kind, int inputs, int padded, float* to) {
  if (kind == Scalar::f32) {
    std::memcpy(to, from, sizeof(float) * inputs);
  } else {
    const auto* bits = static_cast<const uint16_t*>(from);
    auto* wide = reinterpret_cast<uint32_t*>(to);
    for (int i = 0; i < inputs; i++) wide[i] = static_cast<uint32_t>(bits[i]) << 16;
  }
  std::memset(to + inputs, 0, sizeof(float) * (padded - inputs));
}

void sum_groups(const float* row, int padded, int group, float* sums) {
  for (int start = 0, g = 0; start < padded; start += group, g++) {
    __m256 sum = _mm256_setzero_ps();
    for (int i = start; i < start + group; i += 8) sum = _mm256_add_ps(sum, _mm256_loadu_ps(row + i));
    alignas(32) float parts[8];
    _mm256_store_ps(parts, sum);
    sums[g] = ((parts[0] + parts[1]) + (parts[2] + parts[3])) +
              ((parts[4] + parts[5]) + (parts[6] + parts[7]));
  }
}

// The sums are those of the rounded values: zero points must meet the same numbers as weights do.
void quantize_planes(const float* row, int padded, int group, int planes, int8_t* to, float* scales,
                     float* group_sums) {
  for (int g = 0; g < padded / group; g++) group_sums[g] = 0;
  for (int start = 0; start < padded; start += kBlock) {
    const float most = largest(row + start, kBlock);
    const auto [up, down] = steps_for(most, planes == 1 ? kByte : kTwoBytes);
    const __m256 factor = _mm256_set1_ps(up);
    __m256i whole[4], low[4];
    for (int i = 0; i < 4; i++) whole[i] = rounded(row + start + 8 * i, factor);
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(whole[0], whole[1]),
                                         _mm256_add_epi32(whole[2], whole[3]));
    scales[start / kBlock] = down;
    group_sums[start / group] += down * static_cast<float>(sum_of(sum));
    if (planes == 2) {
      for (int i = 0; i < 4; i++) {
        low[i] = _mm256_srai_epi32(_mm256_slli_epi32(whole[i], 24), 24);
        whole[i] = _mm256_srai_epi32(_mm256_sub_epi32(whole[i], low[i]), 8);
      }
      store_bytes(low, to + padded + start);
    }
    store_bytes(whole, to + start);
  }
}

// int8: one scale a row. VPDPBUSD wants bytes without sign; `int8_vnni` takes the 128 off again.
float quantize_row_u8(const float* row, int padded, uint8_t* to) {
  const auto [up, down] = steps_for(largest(row, padded), kByte);
  const __m256 factor = _mm256_set1_ps(up);
  alignas(32) int32_t whole[8];
  for (int start = 0; start < padded; start += 8) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(whole), rounded(row + start, factor));
    for (int i = 0; i < 8; i++) to[start + i] = static_cast<uint8_t>(whole[i] + 128);
  }
  return down;
}

// int8 for VPMADDWD: 16 bits wide; each four inputs in the order 0 2 1 3, as bytes are shifted out.
float quantize_row_i16(const float* row, int padded, int16_t* to) {
  const auto [up, down] = steps_for(largest(row, padded), kByte);
  const __m256 factor = _mm256_set1_ps(up);
  alignas(32) int32_t whole[8];
  for (int start = 0; start < padded; start += 8) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(whole), rounded(row + start, factor));
    for (int i = 0; i < 8; i++)
      to[start + i] = static_cast<int16_t>(whole[(i & 4) + ((i & 1) << 1) + ((i & 2) >> 1)]);
  }
  return down;
}

}  // namespace quantswarm
