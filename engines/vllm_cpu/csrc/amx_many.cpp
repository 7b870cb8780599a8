// w4a16 with AMX for more rows than one pass takes (prompts, large batches).
//
// A panel of outputs is widened once and stays in the second-level cache while all rows pass over it, 32 at
// a time. Of these, a chunk of inputs stays in the first-level cache while it meets all of the panel. The rows
// come as tiles (`pack_tiles`): their own stride, often a power of two, would put them all into a few sets
// of the cache.
#include "amx.h"

namespace quantswarm {
namespace {

constexpr int kMostBlocks = 8;           // outputs whose sums fit the first-level cache beside the rows
constexpr int64_t kPanelBytes = 1 << 20;  // of the second-level cache's 2 MiB

// Tiles 0-1 are sums of the upper 16 rows, 2-3 of the lower, 4-5 activations, 6-7 weights.
void configure() {
  TileConfig config;
  for (int tile = 0; tile < 8; tile++) {
    config.row_bytes[tile] = 64;
    config.rows[tile] = 16;
  }
  _tile_loadconfig(&config);
}

// 32 rows by two blocks by one chunk of inputs.
void multiply(const uint16_t* x, const uint16_t* first, const uint16_t* second, int tiles) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int i = 0; i < tiles * 512; i += 512, x += 1024) {
    _tile_loadd(6, first + i, 64);
    _tile_loadd(4, x, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, x + 512, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_loadd(7, second + i, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
  }
}

void leave_tiles(float* sums) {
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + 256, 64);
  _tile_stored(2, sums + 512, 64);
  _tile_stored(3, sums + 768, 64);
}

struct Many {
  const Weights4& w;
  const Rows& rows;
  const Out& out;
  int block, blocks;
  uint16_t* wide;  // all inputs of the blocks
  float* sums;     // four tiles as they left
  float* total;    // [32][kMostBlocks * 16]

  static constexpr int stride() { return kMostBlocks * 16; }
};

// In the order of use, [chunk][block][step / 32] tiles: one stream for the processor to read ahead.
void widen_panel(const Many& p) {
  const int step = step_of(p.w);
  uint16_t* into = p.wide;
  for (int from = 0; from < p.w.inputs; from += step, into += p.blocks * step * kColumns)
    widen(p.w, p.block, p.blocks, from, from + step, into);
}

void gather(const Many& p, int row, int count, int pair, int to) {
  const int groups = p.w.inputs / p.w.group;
  for (int c = pair; c < std::min(pair + 2, p.blocks); c++) {
    const Group group(p.w, p.block + c, to);
    const float* from = p.sums + (c - pair) * 256;
    float* total = p.total + c * 16;
    group.add(p.rows, groups, row, std::min(count, 16), from, total, p.stride());
    group.add(p.rows, groups, row + 16, count - 16, from + 512, total + 16 * p.stride(), p.stride());
  }
}

// Sums of one pair are gathered while the tiles already work on the next, and before these leave: stores
// complete in their order, and those of tiles wait for the products.
void pass(const Many& p, int row) {
  const int count = std::min(32, p.rows.count - row), step = step_of(p.w);
  std::fill_n(p.total, 32 * p.stride(), 0.0f);
  const auto* x = static_cast<const uint16_t*>(p.rows.x) + static_cast<int64_t>(row) * p.w.inputs;
  const uint16_t* b = p.wide;
  int waiting = -1, waiting_to = 0;
  for (int from = 0; from < p.w.inputs; from += step, x += step * kFewAmx) {
    for (int pair = 0; pair < p.blocks; pair += 2) {
      const uint16_t* second = pair + 1 < p.blocks ? b + step * kColumns : b;
      multiply(x, b, second, step / kBlock);
      b = second + step * kColumns;
      if (waiting >= 0) gather(p, row, count, waiting, waiting_to);
      leave_tiles(p.sums);
      waiting = pair, waiting_to = from + step;
    }
  }
  gather(p, row, count, waiting, waiting_to);
  for (int r = 0; r < count; r++)
    for (int c = 0; c < p.blocks; c++)
      store(p.out, row + r, (p.block + c) * 16, _mm512_load_ps(p.total + r * p.stride() + c * 16));
}

}  // namespace

void w4a16_amx_many(const Weights4& w, const Rows& rows, const Out& out, int begin, int end) {
  alignas(64) float sums[4 * 256], total[32 * kMostBlocks * 16];
  const int64_t fitting = kPanelBytes / (static_cast<int64_t>(w.inputs) * 32) & ~1;
  const int most = static_cast<int>(std::clamp<int64_t>(fitting, 2, kMostBlocks));
  const Room wide = room_for(most, w.inputs);
  configure();
  for (int block = begin; block < end; block += most) {
    const Many panel{w, rows, out, block, std::min(most, end - block), wide.get(), sums, total};
    widen_panel(panel);
    for (int row = 0; row < rows.count; row += 32) pass(panel, row);
  }
  _tile_release();
}

}  // namespace quantswarm
