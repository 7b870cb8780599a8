// What both AMX products share: the tiles' configuration, weights widened to bfloat16, sums scaled and added.
//
// Widened weights lie as tiles of 1 KiB, [block][inputs * 16]: 32 inputs of a block are one tile, sixteen
// rows, in each a pair of inputs for every output. Only included by files compiled for AMX.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <numeric>

#include "avx512.h"

namespace quantswarm {
namespace {

constexpr int kLongest = 256;  // inputs whose sums stay in the tiles

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

// A few blocks of outputs, their weights widened, and where their sums go.
struct Panel {
  const Weights4& w;
  const Rows& rows;
  const Out& out;
  int block, blocks;
  uint16_t* wide;

  uint16_t* tile(int c, int k) const {
    return wide + (static_cast<int64_t>(c) * w.inputs + k) * 16;
  }
};

inline std::unique_ptr<uint16_t, void (*)(void*)> room_for(const Weights4& w, int blocks) {
  const size_t bytes = static_cast<size_t>(w.inputs) * 32 * blocks;
  return {static_cast<uint16_t*>(std::aligned_alloc(64, bytes)), std::free};
}

inline void widen(const Panel& p, int from, int to) {
  const __m512i table = nibble_table();
  for (int c = 0; c < p.blocks; c++) {
    const uint32_t* q = p.w.q + static_cast<int64_t>(p.block + c) * p.w.inputs * 2;
    for (int k = from; k < to; k += 8) {
      const __m512i packed = _mm512_loadu_si512(q + k * 2);
      uint16_t* into = p.tile(c, k);
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
