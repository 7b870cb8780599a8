// How every product walks over its outputs and rows: a few blocks of weights, small enough for the
// first-level cache, and all rows over them. A tile computes R rows of C blocks in registers; R goes
// from `Tile::kRows` downwards, and `Tile::blocks(R)` says which C fits the registers.
//
// In an unnamed namespace on purpose: each file compiles its own copy for its own instruction set.
#pragma once
#include "kernels.h"

namespace quantswarm {
namespace {

constexpr int kSpan = 4;  // blocks that all rows pass over before the next are read

template <class Tile, int R, class W>
void strip(const W& w, const Rows& rows, const Out& out, int row, int begin, int end) {
  constexpr int C = Tile::blocks(R);
  int block = begin;
  for (; block + C <= end; block += C) Tile::template run<R, C>(w, rows, out, row, block);
  for (; block < end; block++) Tile::template run<R, 1>(w, rows, out, row, block);
}

template <class Tile, int R, class W>
void rest(const W& w, const Rows& rows, const Out& out, int row, int begin, int end) {
  if constexpr (R > 0) {
    if (rows.count - row == R)
      strip<Tile, R>(w, rows, out, row, begin, end);
    else
      rest<Tile, R - 1>(w, rows, out, row, begin, end);
  }
}

template <class Tile, class W>
void sweep(const W& w, const Rows& rows, const Out& out, int begin, int end) {
  for (int block = begin; block < end; block += kSpan) {
    const int last = block + kSpan < end ? block + kSpan : end;
    int row = 0;
    for (; row + Tile::kRows <= rows.count; row += Tile::kRows)
      strip<Tile, Tile::kRows>(w, rows, out, row, block, last);
    rest<Tile, Tile::kRows - 1>(w, rows, out, row, block, last);
  }
}

template <typename T>
inline const T* row_of(const Rows& rows, int row) {
  return static_cast<const T*>(rows.x) + row * rows.stride;
}

inline int bits_at(const void* from) {
  int bits;
  __builtin_memcpy(&bits, from, 4);
  return bits;
}

}  // namespace
}  // namespace quantswarm
