// w4a16 with AMX for up to 32 rows: tiles of 16 x 16 sums in float32. Weights are widened to bfloat16 one
// chunk ahead of the products, into two places in turn that never leave the first-level cache.
//
// Scales are applied to the sums of each chunk, which leave the tiles for that.
#include "amx.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace quantswarm {
namespace {

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

struct Few {
  const Weights4& w;
  const Rows& rows;
  const Out& out;
  int block, blocks;
  uint16_t* wide;      // two chunks
  float* sums;         // four tiles as they left
  float (*total)[64];  // [32][64]
};

// One chunk of inputs: `x` and `below` are rows of it, `b` its weights, `far` from one block to the next.
// Tiles are named by constants, hence the steps one by one.
void multiply_wide(const Few& p, const uint16_t* x, const uint16_t* b, int64_t far) {
  const int64_t row_bytes = p.rows.stride * 2;
  const uint16_t* end = b + far;
  for (; b < end; b += 512, x += 32) {
    _tile_loadd(4, x, row_bytes);
    _tile_loadd(5, b, 64);
    _tile_dpbf16ps(0, 4, 5);
    if (p.blocks < 2) continue;
    _tile_loadd(6, b + far, 64);
    _tile_dpbf16ps(1, 4, 6);
    if (p.blocks < 3) continue;
    _tile_loadd(7, b + 2 * far, 64);
    _tile_dpbf16ps(2, 4, 7);
    if (p.blocks < 4) continue;
    _tile_loadd(5, b + 3 * far, 64);
    _tile_dpbf16ps(3, 4, 5);
  }
}

void multiply_square(const Few& p, const uint16_t* x, const uint16_t* below, const uint16_t* b,
                     int64_t far) {
  const int64_t row_bytes = p.rows.stride * 2;
  const uint16_t* end = b + far;
  for (; b < end; b += 512, x += 32, below += 32) {
    _tile_loadd(6, b, 64);
    _tile_loadd(4, x, row_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, below, row_bytes);
    _tile_dpbf16ps(2, 5, 6);
    if (p.blocks < 2) continue;
    _tile_loadd(7, b + far, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
  }
}

void empty_tiles() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

void leave_tiles(const Few& p) {
  _tile_stored(0, p.sums, 64);
  _tile_stored(1, p.sums + 256, 64);
  _tile_stored(2, p.sums + 512, 64);
  _tile_stored(3, p.sums + 768, 64);
}

void gather(const Few& p, const Shape& shape, int to) {
  const int groups = p.w.inputs / p.w.group;
  for (int c = 0; c < p.blocks; c++) {
    const Group group(p.w, p.block + c, to);
    group.add(p.rows, groups, 0, shape.upper, p.sums + c * 256, p.total[0] + c * 16, 64);
    group.add(p.rows, groups, shape.upper, shape.lower, p.sums + (2 + c) * 256,
              p.total[shape.upper] + c * 16, 64);
  }
}

// Widening the next chunk follows the products, so that the processor does both at once.
void all_inputs(const Few& p, const Shape& shape) {
  for (int r = 0; r < shape.rows(); r++)
    for (int c = 0; c < p.blocks * 16; c += 16)
      _mm512_store_ps(p.total[r] + c, _mm512_setzero_ps());
  const int step = step_of(p.w);
  const int64_t far = static_cast<int64_t>(step) * kColumns;
  uint16_t *now = p.wide, *next = p.wide + p.blocks * far;
  widen(p.w, p.block, p.blocks, 0, step, now);
  for (int from = 0; from < p.w.inputs; from += step) {
    const int to = from + step;
    const auto* x = row_of<uint16_t>(p.rows, 0) + from;
    empty_tiles();
    if (shape.wide())
      multiply_wide(p, x, now, far);
    else
      multiply_square(p, x, x + shape.upper * p.rows.stride, now, far);
    if (to < p.w.inputs) widen(p.w, p.block, p.blocks, to, to + step, next);
    std::swap(now, next);
    leave_tiles(p);
    gather(p, shape, to);
  }
  for (int r = 0; r < shape.rows(); r++)
    for (int c = 0; c < p.blocks; c++)
      store(p.out, r, (p.block + c) * 16, _mm512_load_ps(p.total[r] + c * 16));
}

}  // namespace

void w4a16_amx_few(const Weights4& w, const Rows& rows, const Out& out, int begin, int end) {
  alignas(64) float sums[4 * 256], total[32][64];
  const int most = rows.count > 16 ? 2 : 4;
  const Room wide = room_for(2 * most, step_of(w));
  const Shape shape(rows.count);
  shape.configure();
  for (int block = begin; block < end; block += most)
    all_inputs({w, rows, out, block, std::min(most, end - block), wide.get(), sums, total}, shape);
  _tile_release();
}

bool amx_usable() {
  // Linux gives tile registers to a process that asks (ARCH_REQ_XCOMP_PERM, state 18), once.
  static const bool granted = syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  return granted;
}

}  // namespace quantswarm
