// w4a16 with AMX: weights widened to bfloat16 into a cached panel, tiles of 16 x 16 sums in float32.
//
// Scales are applied to the sums of each group, which leave the tiles
// for that: about as much work as the products themselves at groups of 32, an eighth of it per channel.
#include <sys/syscall.h>
#include <unistd.h>

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

// Up to 16 rows: four blocks wide, tiles 0-3 their sums, 4 the activations, 5-7 weights in turn.
// More rows: two by two, tiles 0-1 sums of the upper rows, 2-3 of the lower, 4-5 activations, 6-7 weights.
struct Shape {
  int upper, lower;
  explicit Shape(int rows) : upper(rows > 16 ? (rows + 1) / 2 : rows), lower(rows - upper) {}
  int rows() const { return upper + lower; }
  bool wide() const { return lower == 0; }

  void configure() const {
    TileConfig config;
    for (int tile = 0; tile < 8; tile++) {
      const bool second = !wide() && (tile == 2 || tile == 3 || tile == 5);
      const bool weights = wide() ? tile > 4 : tile > 5;
      config.row_bytes[tile] = 64;
      config.rows[tile] = static_cast<uint8_t>(weights ? 16 : second ? lower : upper);
    }
    _tile_loadconfig(&config);
  }
};

// A nibble becomes bfloat16 by one VPERMW: its index has five bits, of which the fifth belongs to the
// next nibble, so the table holds the values -8 .. 7 twice. They are exact in bfloat16.
__m512i nibble_table() {
  alignas(64) uint16_t table[32];
  for (int i = 0; i < 32; i++) {
    const float value = static_cast<float>((i & 15) - 8);
    uint32_t bits;
    __builtin_memcpy(&bits, &value, 4);
    table[i] = static_cast<uint16_t>(bits >> 16);
  }
  return _mm512_load_si512(table);
}

// Work on a few blocks of outputs. `wide` is a panel of bfloat16 weights: [block][inputs * 16], 32 inputs
// being one tile: sixteen rows, in each a pair of inputs for every output.
struct Panel {
  const Weights4& w;
  const Rows& rows;
  const Out& out;
  int block, blocks;
  uint16_t* wide;
  float* sums;         // four tiles as they left
  float (*total)[64];  // [32][64]

  uint16_t* tile(int c, int k) const {
    return wide + (static_cast<int64_t>(c) * w.inputs + k) * 16;
  }
};

void widen(const Panel& p, int from, int to) {
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

// Sums of inputs [from, to) into `sums`. Tiles are named by constants, hence the steps one by one.
void multiply_wide(const Panel& p, int row, int from, int to) {
  const auto* x = row_of<uint16_t>(p.rows, row);
  const int64_t row_bytes = p.rows.stride * 2;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int k = from; k < to; k += 32) {
    _tile_loadd(4, x + k, row_bytes);
    _tile_loadd(5, p.tile(0, k), 64);
    _tile_dpbf16ps(0, 4, 5);
    if (p.blocks < 2) continue;
    _tile_loadd(6, p.tile(1, k), 64);
    _tile_dpbf16ps(1, 4, 6);
    if (p.blocks < 3) continue;
    _tile_loadd(7, p.tile(2, k), 64);
    _tile_dpbf16ps(2, 4, 7);
    if (p.blocks < 4) continue;
    _tile_loadd(5, p.tile(3, k), 64);
    _tile_dpbf16ps(3, 4, 5);
  }
}

void multiply_square(const Panel& p, int row, int upper, int from, int to) {
  const auto* x = row_of<uint16_t>(p.rows, row);
  const auto* below = row_of<uint16_t>(p.rows, row + upper);
  const int64_t row_bytes = p.rows.stride * 2;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int k = from; k < to; k += 32) {
    _tile_loadd(6, p.tile(0, k), 64);
    _tile_loadd(4, x + k, row_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, below + k, row_bytes);
    _tile_dpbf16ps(2, 5, 6);
    if (p.blocks < 2) continue;
    _tile_loadd(7, p.tile(1, k), 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
  }
}

void leave_tiles(const Panel& p) {
  _tile_stored(0, p.sums, 64);
  _tile_stored(1, p.sums + 256, 64);
  _tile_stored(2, p.sums + 512, 64);
  _tile_stored(3, p.sums + 768, 64);
}

// Adds what left the tiles, scaled; `with_zero` once a group, with the sum of the whole group's inputs.
void gather(const Panel& p, int row, const Shape& shape, int group, bool with_zero) {
  const int groups = p.w.inputs / p.w.group;
  for (int c = 0; c < p.blocks; c++) {
    const int64_t at = (static_cast<int64_t>(group) * p.w.blocks + p.block + c) * 16;
    const __m512 scale = load_scales(p.w, at);
    const __m512 zero = with_zero ? _mm512_sub_ps(load_zeros(p.w, at), _mm512_set1_ps(8))
                                  : _mm512_setzero_ps();
    for (int r = 0; r < shape.rows(); r++) {
      const bool second = r >= shape.upper;
      const float* from = p.sums + ((second ? 2 : 0) + c) * 256 + (second ? r - shape.upper : r) * 16;
      const float sum = with_zero ? p.rows.group_sum[(row + r) * groups + group] : 0.0f;
      float* into = p.total[r] + c * 16;
      _mm512_store_ps(into,
                      add_group(_mm512_load_ps(into), _mm512_load_ps(from), scale, zero, sum));
    }
  }
}

// All inputs of up to 32 rows. The first rows widen the panel, one chunk ahead of the products, so that
// the processor does both at once; later rows find it in the cache.
void rows_over(const Panel& p, int row, const Shape& shape, bool first) {
  for (int r = 0; r < shape.rows(); r++)
    for (int c = 0; c < p.blocks * 16; c += 16)
      _mm512_store_ps(p.total[r] + c, _mm512_setzero_ps());
  const int step = p.w.group % kLongest ? std::gcd(p.w.group, kLongest) : kLongest;
  if (first) widen(p, 0, step);
  for (int from = 0; from < p.w.inputs; from += step) {
    const int to = from + step;
    if (shape.wide())
      multiply_wide(p, row, from, to);
    else
      multiply_square(p, row, shape.upper, from, to);
    if (first && to < p.w.inputs) widen(p, to, to + step);
    leave_tiles(p);
    gather(p, row, shape, from / p.w.group, p.w.zero && to % p.w.group == 0);
  }
  for (int r = 0; r < shape.rows(); r++)
    for (int c = 0; c < p.blocks; c++)
      store(p.out, row + r, (p.block + c) * 16, _mm512_load_ps(p.total[r] + c * 16));
}

}  // namespace

void w4a16_amx(const Weights4& w, const Rows& rows, const Out& out, int begin, int end) {
  alignas(64) float sums[4 * 256], total[32][64];
  const int most = rows.count > 16 ? 2 : 4;
  const size_t panel_bytes = static_cast<size_t>(w.inputs) * 32 * most;
  const std::unique_ptr<void, void (*)(void*)> wide(std::aligned_alloc(64, panel_bytes), std::free);
  int configured = 0;
  for (int block = begin; block < end; block += most) {
    const Panel panel{w,    rows, out, block, std::min(most, end - block), static_cast<uint16_t*>(wide.get()),
                      sums, total};
    for (int row = 0; row < rows.count; row += 32) {
      const Shape shape(std::min(32, rows.count - row));
      if (configured != shape.rows()) shape.configure();
      configured = shape.rows();
      rows_over(panel, row, shape, row == 0);
    }
  }
  _tile_release();
}

bool amx_usable() {
  // Linux gives tile registers to a process that asks (ARCH_REQ_XCOMP_PERM, state 18), once.
  static const bool granted = syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  return granted;
}

}  // namespace quantswarm
