// From activations as they come to outputs: preparation, then the product, shared out by OpenMP.
//
// The threads are those of the process's one OpenMP runtime, which is PyTorch's: vLLM binds them to cores.
#include "dispatch.h"

#include <cpuid.h>
#include <omp.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

namespace quantswarm {
namespace {

// Below this many bytes of weights, waking other threads costs more than they save.
constexpr int64_t kAlone = 48 * 1024;

bool has_amx() {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  return (d & kBf16) && (d & kTile) && amx_usable();
}

// What prepared activations lie in; freed when the product is done.
struct Prepared {
  std::unique_ptr<char[]> x;
  std::vector<float> scale, group_sum;
  Rows rows;
};

template <class Work>
void share(int threads, int items, Work work) {
  if (threads <= 1 || items <= 1) {
    work(0, items);
    return;
  }
#pragma omp parallel num_threads(std::min(threads, items))
  {
    const int64_t mine = omp_get_thread_num(), all = omp_get_num_threads();
    work(static_cast<int>(items * mine / all), static_cast<int>(items * (mine + 1) / all));
  }
}

// Rows are few in decoding: one thread prepares them before the others are woken.
int threads_for(int rows) { return rows < 16 ? 1 : omp_get_max_threads(); }

template <class Row>
void each_row(const Activations& x, Row row) {
  const int64_t width = x.kind == Scalar::f32 ? 4 : 2;
  share(threads_for(x.rows), x.rows, [&](int begin, int end) {
    for (int r = begin; r < end; r++)
      row(r, static_cast<const char*>(x.x) + r * x.stride * width);
  });
}

void as_planes(const Weights4& w, const Activations& x, int planes, Prepared& p) {
  const int groups = w.inputs / w.group, steps = w.inputs / kBlock;
  const int64_t stride = static_cast<int64_t>(w.inputs) * planes;
  p.x.reset(new char[x.rows * stride]);
  p.scale.resize(static_cast<size_t>(x.rows) * steps);
  p.group_sum.resize(static_cast<size_t>(x.rows) * groups);
  auto* to = reinterpret_cast<int8_t*>(p.x.get());
  each_row(x, [&](int r, const void* from) {
    thread_local std::vector<float> row;
    row.resize(w.inputs);
    widen_row(from, x.kind, x.inputs, w.inputs, row.data());
    quantize_planes(row.data(), w.inputs, w.group, planes, to + r * stride,
                    p.scale.data() + static_cast<int64_t>(r) * steps,
                    p.group_sum.data() + static_cast<int64_t>(r) * groups);
  });
  p.rows = {to, stride, x.rows, p.scale.data(), p.group_sum.data()};
}

// Sums of groups, wanted only where there are zero points.
void sum_rows(const Weights4& w, const Activations& x, Prepared& p) {
  if (!w.zero) return;
  const int groups = w.inputs / w.group;
  p.group_sum.resize(static_cast<size_t>(x.rows) * groups);
  each_row(x, [&](int r, const void* from) {
    thread_local std::vector<float> row;
    row.resize(w.inputs);
    widen_row(from, x.kind, x.inputs, w.inputs, row.data());
    sum_groups(row.data(), w.inputs, w.group,
               p.group_sum.data() + static_cast<int64_t>(r) * groups);
  });
  p.rows.group_sum = p.group_sum.data();
}

// bfloat16 rows are used where they lie, unless they must be padded.
void as_bf16(const Weights4& w, const Activations& x, Prepared& p) {
  p.rows = {x.x, x.stride, x.rows, nullptr, nullptr};
  if (x.inputs != w.inputs) {
    p.x.reset(new char[static_cast<size_t>(x.rows) * w.inputs * 2]());
    auto* to = reinterpret_cast<uint16_t*>(p.x.get());
    each_row(x, [&](int r, const void* from) {
      std::memcpy(to + static_cast<int64_t>(r) * w.inputs, from, x.inputs * 2);
    });
    p.rows.x = to;
    p.rows.stride = w.inputs;
  }
  sum_rows(w, x, p);
}

// Tiles of sixteen rows, [rows / 32][inputs / 32][2][16][32], zeros where there is no row or no input.
void as_tiles(const Weights4& w, const Activations& x, Prepared& p) {
  constexpr int kPair = kFewAmx * kBlock;  // two tiles
  const int64_t rows = (x.rows + kFewAmx - 1) / kFewAmx * kFewAmx;
  p.x.reset(new char[rows * w.inputs * 2]);
  auto* to = reinterpret_cast<uint16_t*>(p.x.get());
  const auto row_at = [&](int64_t r) {
    return to + r / kFewAmx * kFewAmx * w.inputs + r % kFewAmx * kBlock;
  };
  for (int64_t r = x.rows; r < rows; r++)
    for (int i = 0; i < w.inputs / kBlock; i++) std::memset(row_at(r) + i * kPair, 0, kBlock * 2);
  const int left = x.inputs % kBlock;
  each_row(x, [&](int r, const void* from) {
    const auto* bits = static_cast<const uint16_t*>(from);
    uint16_t* into = row_at(r);
    for (int k = 0; k < x.inputs / kBlock; k++, into += kPair, bits += kBlock)
      std::memcpy(into, bits, kBlock * 2);
    if (left == 0) return;
    std::memcpy(into, bits, left * 2);
    std::memset(into + left, 0, (kBlock - left) * 2);
  });
  p.rows = {to, 0, x.rows, nullptr, nullptr};
  sum_rows(w, x, p);
}

template <typename T, class Quantize>
void as_integers(const Weights8& w, const Activations& x, Prepared& p, Quantize quantize) {
  p.x.reset(new char[static_cast<size_t>(x.rows) * w.inputs * sizeof(T)]);
  p.scale.resize(x.rows);
  auto* to = reinterpret_cast<T*>(p.x.get());
  each_row(x, [&](int r, const void* from) {
    thread_local std::vector<float> row;
    row.resize(w.inputs);
    widen_row(from, x.kind, x.inputs, w.inputs, row.data());
    p.scale[r] = quantize(row.data(), w.inputs, to + static_cast<int64_t>(r) * w.inputs);
  });
  p.rows = {to, w.inputs, x.rows, p.scale.data(), nullptr};
}

}  // namespace

int64_t usable() {
  __builtin_cpu_init();
  if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) return 0;
  int64_t bits = 1 << kW4A8Avx2 | 1 << kW4A16Avx2 | 1 << kInt8Avx2;
  if (__builtin_cpu_supports("f16c")) bits |= 1 << kW16A32Avx2;
  if (!(__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni")))
    return bits;
  bits |= 1 << kW4A8Vnni | 1 << kW4A16Vnni | 1 << kInt8Vnni;
  return bits | (has_amx() ? 1 << kW4A16Amx : 0);
}

void product4(Kernel kernel, const Weights4& w, const Activations& x, const Out& out) {
  static constexpr Product4 kProducts[] = {w4a8_avx2, w4a16_avx2, w4a8_vnni, w4a16_vnni,
                                           w4a16_amx_few};
  const bool tiles = kernel == kW4A16Amx && x.rows > kFewAmx;
  const Product4 product = tiles ? w4a16_amx_many : kProducts[kernel];
  Prepared p;
  if (tiles)
    as_tiles(w, x, p);
  else if (kernel == kW4A16Amx)
    as_bf16(w, x, p);
  else
    as_planes(w, x, kernel == kW4A8Avx2 || kernel == kW4A8Vnni ? 1 : 2, p);
  const bool alone = static_cast<int64_t>(w.blocks) * w.inputs * 8 < kAlone && x.rows < 4;
  share(alone ? 1 : omp_get_max_threads(), w.blocks,
        [&](int begin, int end) { product(w, p.rows, out, begin, end); });
}

void product8(Kernel kernel, const Weights8& w, const Activations& x, const Out& out) {
  Prepared p;
  if (kernel == kInt8Avx2)
    as_integers<int16_t>(w, x, p, quantize_row_i16);
  else
    as_integers<uint8_t>(w, x, p, quantize_row_u8);
  const Product8 product = kernel == kInt8Avx2 ? int8_avx2 : int8_vnni;
  const bool alone = static_cast<int64_t>(w.blocks) * w.inputs * 16 < kAlone && x.rows < 4;
  share(alone ? 1 : omp_get_max_threads(), w.blocks,
        [&](int begin, int end) { product(w, p.rows, out, begin, end); });
}

void product16(const Weights16& w, const Activations& x, const Out& out) {
  const Rows rows{x.x, x.stride, x.rows, nullptr, nullptr};
  const bool alone = static_cast<int64_t>(w.outputs) * w.inputs * 2 < kAlone && x.rows < 4;
  share(alone ? 1 : omp_get_max_threads(), w.outputs,
        [&](int begin, int end) { w16a32_avx2(w, rows, out, begin, end); });
}

}  // namespace quantswarm
