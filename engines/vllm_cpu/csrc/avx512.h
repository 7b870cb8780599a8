// Loads and stores that the AVX-512 products share. Only included by files compiled for AVX-512.
#pragma once
#include <immintrin.h>

#include "sweep.h"

namespace quantswarm {
namespace {

inline __m512 load_scales(const Weights4& w, int64_t at) {
  switch (w.scale_kind) {
    case Scalar::f32:
      return _mm512_loadu_ps(static_cast<const float*>(w.scale) + at);
    case Scalar::bf16:
      return _mm512_castsi512_ps(_mm512_slli_epi32(
          _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(
              static_cast<const uint16_t*>(w.scale) + at))),
          16));
    default:
      return _mm512_cvtph_ps(_mm256_loadu_si256(
          reinterpret_cast<const __m256i*>(static_cast<const uint16_t*>(w.scale) + at)));
  }
}

inline __m512 load_zeros(const Weights4& w, int64_t at) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w.zero + at))));
}

// Round to nearest even, as PyTorch does; a NaN stays one.
inline __m256i to_bf16(__m512 v) {
#ifdef __AVX512BF16__
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v));
#else
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(
      _mm512_srli_epi32(_mm512_mask_blend_epi32(nan, up, _mm512_set1_epi32(0x7fc00000)), 16));
#endif
}

inline void store(const Out& out, int row, int column, __m512 v) {
  const int left = out.columns - column;
  if (left <= 0) return;
  const __mmask16 mask = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
  if (out.bias) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, out.bias + column));
  const int64_t at = row * out.stride + column;
  if (out.kind == Scalar::f32)
    _mm512_mask_storeu_ps(static_cast<float*>(out.y) + at, mask, v);
  else
    _mm256_mask_storeu_epi16(static_cast<uint16_t*>(out.y) + at, mask, to_bf16(v));
}

// One group's products, scaled and added: total + scale * (acc - zero * sum of the inputs).
inline __m512 add_group(__m512 total, __m512 acc, __m512 scale, __m512 zero, float sum) {
  return _mm512_fmadd_ps(scale, _mm512_fnmadd_ps(zero, _mm512_set1_ps(sum), acc), total);
}

}  // namespace
}  // namespace quantswarm
