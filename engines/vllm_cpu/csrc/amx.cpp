// w4a16 with AMX for up to 32 rows: weights widened to bfloat16 a chunk ahead of the products, tiles of
// 16 x 16 sums in float32.
//
// Scales are applied to the sums of each group, which leave the tiles
// for that: about as much work as the products themselves at groups of 32, an eighth of it per channel.
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

// The panel, with room for four tiles as they leave and for the sums of all groups.
struct Few : Panel {
  float* sums;
  float (*total)[64];  // [32][64]
};

// Sums of inputs [from, to) into `sums`. Tiles are named by constants, hence the steps one by one.
void multiply_wide(const Few& p, int from, int to) {
  const auto* x = row_of<uint16_t>(p.rows, 0);
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

void multiply_square(const Few& p, int upper, int from, int to) {
  const auto* x = row_of<uint16_t>(p.rows, 0);
  const auto* below = row_of<uint16_t>(p.rows, upper);
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

// All inputs. The panel is widened one chunk ahead of the products, so that the processor does both at once.
void all_inputs(const Few& p, const Shape& shape) {
  for (int r = 0; r < shape.rows(); r++)
    for (int c = 0; c < p.blocks * 16; c += 16)
      _mm512_store_ps(p.total[r] + c, _mm512_setzero_ps());
  const int step = step_of(p.w);
  widen(p, 0, step);
  for (int from = 0; from < p.w.inputs; from += step) {
    const int to = from + step;
    if (shape.wide())
      multiply_wide(p, from, to);
    else
      multiply_square(p, shape.upper, from, to);
    if (to < p.w.inputs) widen(p, to, to + step);
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
  const auto wide = room_for(w, most);
  const Shape shape(rows.count);
  shape.configure();
  for (int block = begin; block < end; block += most)
    all_inputs({{w, rows, out, block, std::min(most, end - block), wide.get()}, sums, total}, shape);
  _tile_release();
}

bool amx_usable() {
  // Linux gives tile registers to a process that asks (ARCH_REQ_XCOMP_PERM, state 18), once.
  static const bool granted = syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  return granted;
}

}  // namespace quantswarm
