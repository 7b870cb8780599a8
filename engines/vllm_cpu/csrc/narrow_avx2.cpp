// AVX2: weights of 16 bits, as checkpoints store them, with float32 activations. Widening is exact, so
// the product is float32's own, in another order of sums, at half the bytes read.
//
// Outputs lie one after another, inputs within: nothing is packed, and a tied embedding serves as it is.
#include <immintrin.h>

#include <algorithm>

#include "kernels.h"

namespace quantswarm {
namespace {

template <Scalar kKind>
__m256 widened(const uint16_t* from) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  if constexpr (kKind == Scalar::bf16)
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  else
    return _mm256_cvtph_ps(bits);
}

float sum_of(__m256 v) {
  __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  half = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

// R rows by C outputs in registers: R * C sums, and one weight of each output at a time. The first rows
// to pass over some outputs read the next ones ahead: memory is what they wait for.
template <Scalar kKind, bool kFirst, int R, int C>
void tile(const Weights16& w, const Rows& rows, const Out& out, int row, int column) {
  const float* x[R];
  const uint16_t* from[C];
  for (int r = 0; r < R; r++) x[r] = static_cast<const float*>(rows.x) + (row + r) * rows.stride;
  for (int c = 0; c < C; c++) from[c] = w.w + (column + c) * w.stride;
  __m256 sum[R][C] = {};
  for (int k = 0; k < w.inputs; k += 8) {
#pragma GCC unroll 4
    for (int c = 0; c < C; c++) {
      if (kFirst && k % 32 == 0) _mm_prefetch(from[c] + C * w.stride + k, _MM_HINT_T0);
      const __m256 weight = widened<kKind>(from[c] + k);
#pragma GCC unroll 4
      for (int r = 0; r < R; r++)
        sum[r][c] = _mm256_fmadd_ps(weight, _mm256_loadu_ps(x[r] + k), sum[r][c]);
    }
  }
  for (int r = 0; r < R; r++) {
    float* y = static_cast<float*>(out.y) + (row + r) * out.stride + column;
    for (int c = 0; c < C; c++)
      y[c] = sum_of(sum[r][c]) + (out.bias ? out.bias[column + c] : 0);
  }
}

template <Scalar kKind, bool kFirst, int R>
void strip(const Weights16& w, const Rows& rows, const Out& out, int row, int begin, int end) {
  constexpr int kTogether = R <= 2 ? 4 : 3;  // twelve sums at most: sixteen registers
  int column = begin;
  for (; column + kTogether <= end; column += kTogether)
    tile<kKind, kFirst, R, kTogether>(w, rows, out, row, column);
  for (; column < end; column++) tile<kKind, kFirst, R, 1>(w, rows, out, row, column);
}

template <Scalar kKind, bool kFirst>
void four_rows(const Weights16& w, const Rows& rows, const Out& out, int row, int begin, int end) {
  switch (rows.count - row) {
    case 1:
      return strip<kKind, kFirst, 1>(w, rows, out, row, begin, end);
    case 2:
      return strip<kKind, kFirst, 2>(w, rows, out, row, begin, end);
    case 3:
      return strip<kKind, kFirst, 3>(w, rows, out, row, begin, end);
    default:
      return strip<kKind, kFirst, 4>(w, rows, out, row, begin, end);
  }
}

// All rows pass over a few outputs, which stay in the first-level cache, before the next are read.
template <Scalar kKind>
void sweep16(const Weights16& w, const Rows& rows, const Out& out, int begin, int end) {
  constexpr int kSpan = 12;
  for (int from = begin; from < end; from += kSpan) {
    const int to = std::min(from + kSpan, end);
    four_rows<kKind, true>(w, rows, out, 0, from, to);
    for (int row = 4; row < rows.count; row += 4) four_rows<kKind, false>(w, rows, out, row, from, to);
  }
}

}  // namespace

void w16a32_avx2(const Weights16& w, const Rows& rows, const Out& out, int begin, int end) {
  if (w.kind == Scalar::bf16)
    sweep16<Scalar::bf16>(w, rows, out, begin, end);
  else
    sweep16<Scalar::f16>(w, rows, out, begin, end);
}

}  // namespace quantswarm
