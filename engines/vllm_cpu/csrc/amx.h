// What both AMX products share: the tiles' configuration, weights widened to bfloat16, sums scaled and added.
//
// Widened weights lie as tiles of 1 KiB, [block][inputs / 32][16][32]: sixteen rows, in each a pair of inputs
// for every output. Only included by files compiled for AMX.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <numeric>

#include "avx512.h"

namespace quantswarm {
namespace {

constexpr int kLongest = 128;  // inputs whose sums stay in the tiles
constexpr int kAhead = 2 * kLongest;  // words: the chunk after the one that is widened

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Inputs between two visits of the sums to memory: within one group, and few enough for the cache.
inline int step_of(const Weights4& w) {
  return w.group % kLongest ? std::gcd(w.group, kLongest) : kLongest;
}

// A nibble becomes bfloat16 by one VPERMW: its index has five bits, of which the fifth belongs to the
// next nibble, so the table holds the values -8 .. 7 twice. They are exact in bfloat16.
inline __m512i nibble_table() {
  alignas(64) uint16_t table[32];
  for (int i = 0; i < 32; i++) {
    const float value = static_cast<float>((i & 15) - 8);
    uint32_t bits;
    __builtin_memcpy(&bits, &value, 4);
    table[i] = static_cast<uint16_t>(bits >> 16);
  }
  return _mm512_load_si512(table);
}

using Room = std::unique_ptr<uint16_t, void (*)(void*)>;
inline Room room_for(int blocks, int inputs) {
  const size_t bytes = static_cast<size_t>(blocks) * inputs * 32;
  return {static_cast<uint16_t*>(std::aligned_alloc(64, bytes)), std::free};
}

// Inputs [from, to) of some blocks.
inline void widen(const Weights4& w, int block, int blocks, int from, int to, uint16_t* into) {
  const __m512i table = nibble_table();
  for (int c = 0; c < blocks; c++) {
    const uint32_t* q = w.q + static_cast<int64_t>(block + c) * w.inputs * 2;
    for (int k = from; k < to; k += 8, into += 128) {
      const __m512i packed = _mm512_loadu_si512(q + k * 2);
      _mm_prefetch(reinterpret_cast<const char*>(q + k * 2 + kAhead), _MM_HINT_T0);
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++)
        _mm512_store_si512(into + j * 32,
                           _mm512_permutexvar_epi16(_mm512_srli_epi16(packed, 4 * j), table));
    }
  }
}

// Scale and zero point of a group, for the outputs of one block. Zero points count once a group, with the
// sum of all its inputs; eight is off already (`nibble_table`).
struct Group {
  int index;
  bool with_zero;
  __m512 scale, zero;

  Group(const Weights4& w, int block, int to)
      : index((to - 1) / w.group), with_zero(w.zero && to % w.group == 0) {
    const int64_t at = (static_cast<int64_t>(index) * w.blocks + block) * 16;
    scale = load_scales(w, at);
    zero = with_zero ? _mm512_sub_ps(load_zeros(w, at), _mm512_set1_ps(8)) : _mm512_setzero_ps();
  }

  // Sums of `count` rows that left a tile, scaled, onto `total`, whose rows are `stride` apart.
  void add(const Rows& rows, int groups, int row, int count, const float* sums, float* total,
           int stride) const {
    for (int r = 0; r < count; r++, sums += 16, total += stride) {
      const __m512 sum = _mm512_load_ps(sums), so_far = _mm512_load_ps(total);
      if (with_zero)
        _mm512_store_ps(total, add_group(so_far, sum, scale, zero,
                                         rows.group_sum[(row + r) * groups + index]));
      else
        _mm512_store_ps(total, _mm512_fmadd_ps(scale, sum, so_far));
    }
  }
};

}  // namespace
}  // namespace quantswarm
