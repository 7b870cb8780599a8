// AVX2: w4a8 and w4a16 with VPMADDUBSW, int8 with VPMADDWD. Half a block, 8 outputs, is one register.
//
// No sum saturates. A product of 0..15 and -128..127 is at most 1,920; VPMADDUBSW adds two of them, and
// a 16-bit lane eight such pairs (30,720) before it is widened. int8 is widened to 16 bits first.
#include <immintrin.h>

#include "sweep.h"

namespace quantswarm {
namespace {

__m256 load_scales(const Weights4& w, int64_t at) {
  const auto* half = static_cast<const uint16_t*>(w.scale) + at;
  switch (w.scale_kind) {
    case Scalar::f32:
      return _mm256_loadu_ps(static_cast<const float*>(w.scale) + at);
    case Scalar::bf16:
      return _mm256_castsi256_ps(_mm256_slli_epi32(
          _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(half))), 16));
    default:
      return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(half)));
  }
}

__m256 load_zeros(const Weights4& w, int64_t at) {
  if (!w.zero) return _mm256_set1_ps(8);
  return _mm256_cvtepi32_ps(
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(w.zero + at))));
}

uint16_t to_bf16(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  if (value != value) return 0x7fc0;
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

void store(const Out& out, int row, int column, __m256 v) {
  const int left = out.columns - column < 8 ? out.columns - column : 8;
  alignas(32) float values[8];
  _mm256_store_ps(values, v);
  for (int i = 0; i < left; i++) {
    const float value = out.bias ? values[i] + out.bias[column + i] : values[i];
    const int64_t at = row * out.stride + column + i;
    if (out.kind == Scalar::f32)
      static_cast<float*>(out.y)[at] = value;
    else
      static_cast<uint16_t*>(out.y)[at] = to_bf16(value);
  }
}

__m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }

// w4a8 (P = 1 plane) and w4a16 (P = 2), eight outputs at a time: half a block.
template <int P>
struct Planes {
  static constexpr int kRows = P == 1 ? 4 : 3;
  static constexpr int blocks(int) { return 1; }

  // Both halves together where one or two rows leave registers for it, else one after the other.
  template <int R, int C>
  static void run(const Weights4& w, const Rows& rows, const Out& out, int row, int block) {
    if constexpr (R * P <= 2) {
      halves<R, 2>(w, rows, out, row, block * 16);
    } else {
      halves<R, 1>(w, rows, out, row, block * 16);
      halves<R, 1>(w, rows, out, row, block * 16 + 8);
    }
  }

  template <int R, int H>
  static void halves(const Weights4& w, const Rows& rows, const Out& out, int row, int column) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const uint32_t* q = w.q + static_cast<int64_t>(column / 16) * w.inputs * 2 + column % 16;
    const int8_t* x[R];
    for (int r = 0; r < R; r++) x[r] = row_of<int8_t>(rows, row + r);
    alignas(32) float total[R * H][8] = {};
    const int groups = w.inputs / w.group, steps = w.inputs / kBlock;
    for (int g = 0; g < groups; g++) {
      __m256 acc[R][H] = {};
      for (int start = g * w.group; start < (g + 1) * w.group; start += kBlock) {
        __m256i pairs[P][R][H] = {};
#pragma GCC unroll 4
        for (int k = start; k < start + kBlock; k += 8) {
#pragma GCC unroll 2
          for (int h = 0; h < H; h++) {
            const __m256i packed = load(q + k * 2 + h * 8);
            const __m256i even = _mm256_and_si256(packed, nibble);
            const __m256i odd = _mm256_and_si256(_mm256_srli_epi16(packed, 4), nibble);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
              for (int p = 0; p < P; p++) {
                const int8_t* at = x[r] + p * w.inputs + k;
                pairs[p][r][h] = _mm256_add_epi16(
                    pairs[p][r][h], _mm256_maddubs_epi16(even, _mm256_set1_epi32(bits_at(at))));
                pairs[p][r][h] = _mm256_add_epi16(
                    pairs[p][r][h], _mm256_maddubs_epi16(odd, _mm256_set1_epi32(bits_at(at + 4))));
              }
            }
          }
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
          const __m256 step = _mm256_broadcast_ss(rows.scale + (row + r) * steps + start / kBlock);
#pragma GCC unroll 2
          for (int h = 0; h < H; h++) {
            __m256i whole = _mm256_madd_epi16(pairs[0][r][h], _mm256_set1_epi16(P == 1 ? 1 : 256));
            if constexpr (P == 2)
              whole = _mm256_add_epi32(
                  whole, _mm256_madd_epi16(pairs[1][r][h], _mm256_set1_epi16(1)));
            acc[r][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(whole), step, acc[r][h]);
          }
        }
      }
#pragma GCC unroll 2
      for (int h = 0; h < H; h++) {
        const int64_t at = static_cast<int64_t>(g) * w.blocks * 16 + column + h * 8;
        const __m256 scale = load_scales(w, at), zero = load_zeros(w, at);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
          const __m256 sum = _mm256_broadcast_ss(rows.group_sum + (row + r) * groups + g);
          float* into = total[r * H + h];
          _mm256_store_ps(into, _mm256_fmadd_ps(scale, _mm256_fnmadd_ps(zero, sum, acc[r][h]),
                                                _mm256_load_ps(into)));
        }
      }
    }
    for (int r = 0; r < R; r++)
      for (int h = 0; h < H; h++)
        store(out, row + r, column + h * 8, _mm256_load_ps(total[r * H + h]));
  }
};

// int8, both factors widened to 16 bits.
struct Bytes {
  static constexpr int kRows = 4;
  static constexpr int blocks(int) { return 1; }

  template <int R, int C>
  static void run(const Weights8& w, const Rows& rows, const Out& out, int row, int block) {
    const int8_t* q = w.q + static_cast<int64_t>(block) * w.inputs * 16;
    const int16_t* x[R];
    for (int r = 0; r < R; r++) x[r] = row_of<int16_t>(rows, row + r);
    __m256i sum[R][2] = {};
    for (int k = 0; k < w.inputs; k += 4) {
#pragma GCC unroll 2
      for (int h = 0; h < 2; h++) {
        const __m256i four = load(q + k * 16 + h * 32);
        const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(four, 8), 8);
        const __m256i odd = _mm256_srai_epi16(four, 8);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
          const __m256i one = _mm256_madd_epi16(even, _mm256_set1_epi32(bits_at(x[r] + k)));
          const __m256i two = _mm256_madd_epi16(odd, _mm256_set1_epi32(bits_at(x[r] + k + 2)));
          sum[r][h] = _mm256_add_epi32(sum[r][h], _mm256_add_epi32(one, two));
        }
      }
    }
    for (int h = 0; h < 2; h++) {
      const __m256 scale = _mm256_loadu_ps(w.scale + block * 16 + h * 8);
      for (int r = 0; r < R; r++)
        store(out, row + r, block * 16 + h * 8,
              _mm256_mul_ps(_mm256_cvtepi32_ps(sum[r][h]),
                            _mm256_mul_ps(scale, _mm256_set1_ps(rows.scale[row + r]))));
    }
  }
};

}  // namespace

void w4a8_avx2(const Weights4& w, const Rows& rows, const Out& out, int begin, int end) {
  sweep<Planes<1>>(w, rows, out, begin, end);
}

void w4a16_avx2(const Weights4& w, const Rows& rows, const Out& out, int begin, int end) {
  sweep<Planes<2>>(w, rows, out, begin, end);
}

void int8_avx2(const Weights8& w, const Rows& rows, const Out& out, int begin, int end) {
  sweep<Bytes>(w, rows, out, begin, end);
}

}  // namespace quantswarm
