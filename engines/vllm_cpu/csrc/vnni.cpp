// AVX-512 with VNNI: VPDPBUSD multiplies four bytes a lane and adds them to 32 bits without saturation.
#include "avx512.h"

namespace quantswarm {
namespace {

// w4a8 (P = 1 plane) and w4a16 (P = 2). Registers: R x C x P whole sums of a block, R x C float sums of
// a group; those of all groups wait in memory, which is touched once a group.
template <int P>
struct Planes {
  static constexpr int kRows = P == 1 ? 6 : 4;
  static constexpr int blocks(int rows) { return rows > 2 ? 2 : 4 / P; }

  template <int R, int C>
  static void run(const Weights4& w, const Rows& rows, const Out& out, int row, int block) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const int64_t block_words = static_cast<int64_t>(w.inputs) * 2;
    const uint32_t* q = w.q + block * block_words;
    const int8_t* x[R];
    for (int r = 0; r < R; r++) x[r] = row_of<int8_t>(rows, row + r);
    alignas(64) float total[R * C][16] = {};
    const int groups = w.inputs / w.group, steps = w.inputs / kBlock;
    for (int g = 0; g < groups; g++) {
      __m512 acc[R][C] = {};
      for (int start = g * w.group; start < (g + 1) * w.group; start += kBlock) {
        __m512i sum[P][R][C] = {};
#pragma GCC unroll 4
        for (int k = start; k < start + kBlock; k += 8) {
          __m512i even[C], odd[C];
#pragma GCC unroll 8
          for (int c = 0; c < C; c++) {
            const __m512i packed = _mm512_loadu_si512(q + c * block_words + k * 2);
            even[c] = _mm512_and_si512(packed, nibble);
            odd[c] = _mm512_and_si512(_mm512_srli_epi16(packed, 4), nibble);
          }
#pragma GCC unroll 16
          for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
            for (int p = 0; p < P; p++) {
              const int8_t* at = x[r] + p * w.inputs + k;
              const __m512i first = _mm512_set1_epi32(bits_at(at));
              const __m512i second = _mm512_set1_epi32(bits_at(at + 4));
#pragma GCC unroll 8
              for (int c = 0; c < C; c++) {
                sum[p][r][c] = _mm512_dpbusd_epi32(sum[p][r][c], even[c], first);
                sum[p][r][c] = _mm512_dpbusd_epi32(sum[p][r][c], odd[c], second);
              }
            }
          }
        }
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
          const __m512 step = _mm512_set1_ps(rows.scale[(row + r) * steps + start / kBlock]);
#pragma GCC unroll 8
          for (int c = 0; c < C; c++) {
            __m512i whole = sum[0][r][c];
            if constexpr (P == 2)
              whole = _mm512_add_epi32(_mm512_slli_epi32(whole, 8), sum[1][r][c]);
            acc[r][c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), step, acc[r][c]);
          }
        }
      }
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) {
        const int64_t at = (static_cast<int64_t>(g) * w.blocks + block + c) * 16;
        const __m512 scale = load_scales(w, at);
        const __m512 zero = w.zero ? load_zeros(w, at) : _mm512_set1_ps(8);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) {
          float* into = total[r * C + c];
          _mm512_store_ps(into, add_group(_mm512_load_ps(into), acc[r][c], scale, zero,
                                          rows.group_sum[(row + r) * groups + g]));
        }
      }
    }
    for (int r = 0; r < R; r++)
      for (int c = 0; c < C; c++)
        store(out, row + r, (block + c) * 16, _mm512_load_ps(total[r * C + c]));
  }
};

// int8: activations come with 128 added, so every sum starts at -128 times that of the weights.
struct Bytes {
  static constexpr int kRows = 6;
  static constexpr int blocks(int rows) { return rows > 3 ? 2 : 4; }

  template <int R, int C>
  static void run(const Weights8& w, const Rows& rows, const Out& out, int row, int block) {
    const int64_t block_bytes = static_cast<int64_t>(w.inputs) * 16;
    const int8_t* q = w.q + block * block_bytes;
    const uint8_t* x[R];
    for (int r = 0; r < R; r++) x[r] = row_of<uint8_t>(rows, row + r);
    __m512i sum[R][C];
    for (int c = 0; c < C; c++) {
      const __m512i all = _mm512_loadu_si512(w.sum + (block + c) * 16);
      for (int r = 0; r < R; r++)
        sum[r][c] = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(all, 7));
    }
    for (int k = 0; k < w.inputs; k += 4) {
      __m512i four[C];
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) four[c] = _mm512_loadu_si512(q + c * block_bytes + k * 16);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        const __m512i inputs = _mm512_set1_epi32(bits_at(x[r] + k));
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) sum[r][c] = _mm512_dpbusd_epi32(sum[r][c], inputs, four[c]);
      }
    }
    for (int c = 0; c < C; c++) {
      const __m512 scale = _mm512_loadu_ps(w.scale + (block + c) * 16);
      for (int r = 0; r < R; r++)
        store(out, row + r, (block + c) * 16,
              _mm512_mul_ps(_mm512_cvtepi32_ps(sum[r][c]),
                            _mm512_mul_ps(scale, _mm512_set1_ps(rows.scale[row + r]))));
    }
  }
};

}  // namespace

void w4a8_vnni(const Weights4& w, const Rows& rows, const Out& out, int begin, int end) {
  sweep<Planes<1>>(w, rows, out, begin, end);
}

void w4a16_vnni(const Weights4& w, const Rows& rows, const Out& out, int begin, int end) {
  sweep<Planes<2>>(w, rows, out, begin, end);
}

void int8_vnni(const Weights8& w, const Rows& rows, const Out& out, int begin, int end) {
  sweep<Bytes>(w, rows, out, begin, end);
}

}  // namespace quantswarm
