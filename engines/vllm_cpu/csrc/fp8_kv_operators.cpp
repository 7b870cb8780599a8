// The e4m3 cache as PyTorch operators, beside those of operators.cpp.
#include <omp.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <vector>

#include "fp8_kv.h"

namespace {

using quantswarm::Fp8Attention;
using quantswarm::Fp8Item;
using quantswarm::Heads;
using quantswarm::KvCache;
using quantswarm::Scalar;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int kRows = 32;  // queries that share each widening of the cache

Scalar kind_of(const Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case ScalarType::Float:
      return Scalar::f32;
    case ScalarType::BFloat16:
      return Scalar::bf16;
    case ScalarType::Half:
      return Scalar::f16;
    default:
      STD_TORCH_CHECK(false, "quantswarm_cpu: float32, bfloat16 or float16 is wanted");
  }
}

Heads heads_of(const Tensor& x, int64_t head_size) {
  STD_TORCH_CHECK(x.dim() == 3 && x.size(2) == head_size && x.stride(2) == 1,
                  "quantswarm_cpu: [tokens, heads, head_size] is wanted, heads contiguous");
  return {x.data_ptr(), kind_of(x), x.stride(0), x.stride(1)};
}

KvCache cache_of(const Tensor& x) {
  STD_TORCH_CHECK(x.dim() == 4 && (x.scalar_type() == ScalarType::Byte ||
                                   x.scalar_type() == ScalarType::Float8_e4m3fn),
                  "quantswarm_cpu: a cache of bytes in four dimensions is wanted");
  STD_TORCH_CHECK(x.stride(3) == 1 && x.stride(2) == x.size(3),
                  "quantswarm_cpu: a block and head of the cache must be contiguous");
  STD_TORCH_CHECK(x.size(2) % 32 == 0 && x.size(3) % 32 == 0,
                  "quantswarm_cpu: blocks of a multiple of 32 tokens, heads of a multiple of 16");
  return {static_cast<uint8_t*>(x.data_ptr()), x.stride(0), x.stride(1),
          static_cast<int>(x.size(2)), static_cast<int>(x.size(3) / 2)};
}

const int32_t* integers(const Tensor& x) {
  STD_TORCH_CHECK(x.scalar_type() == ScalarType::Int && x.stride(x.dim() - 1) == 1,
                  "quantswarm_cpu: contiguous int32 is wanted");
  return static_cast<const int32_t*>(x.data_ptr());
}

void store(const Tensor& key, const Tensor& value, const Tensor& cache, const Tensor& slots,
           double key_scale, double value_scale) {
  const KvCache c = cache_of(cache);
  const quantswarm::Fp8Write w{c, heads_of(key, c.head_size), heads_of(value, c.head_size),
                               static_cast<float>(key_scale), static_cast<float>(value_scale)};
  const int heads = static_cast<int>(cache.size(1));
  STD_TORCH_CHECK(key.size(1) == heads && value.size(1) == heads, "quantswarm_cpu: other heads");
  STD_TORCH_CHECK(slots.scalar_type() == ScalarType::Long && slots.dim() == 1 &&
                      (slots.numel() <= 1 || slots.stride(0) == 1),
                  "quantswarm_cpu: contiguous int64 slots are wanted");
  const int64_t tokens = std::min({slots.numel(), key.size(0), value.size(0)});
  const auto* slot = static_cast<const int64_t*>(slots.data_ptr());
  const int64_t room = cache.size(0) * c.block_size;
#pragma omp parallel for if (tokens * heads * c.head_size > 1 << 15)
  for (int64_t token = 0; token < tokens; token++)
    if (slot[token] >= 0 && slot[token] < room)  // padding has slot -1
      quantswarm::fp8_write_avx2(w, token, slot[token], heads);
}

Tensor rounded(const Tensor& x, double scale) {
  STD_TORCH_CHECK(x.is_contiguous() && x.numel() % 8 == 0,
                  "quantswarm_cpu: a contiguous tensor, a multiple of 8 numbers, is wanted");
  const Tensor y = torch::stable::empty_like(x);
  quantswarm::fp8_round_avx2(x.data_ptr(), kind_of(x), static_cast<float>(scale), x.numel(),
                             y.data_ptr());
  return y;
}

// Longest first, so that the threads end together.
std::vector<Fp8Item> items_of(const Fp8Attention& a, int requests, int kv_heads) {
  const int step = std::max(1, kRows / a.group);
  std::vector<Fp8Item> items;
  for (int r = 0; r < requests; r++) {
    const int count = a.query_start[r + 1] - a.query_start[r];
    for (int first = (count - 1) / step * step; count > 0 && first >= 0; first -= step)
      for (int h = 0; h < kv_heads; h++)
        items.push_back({r, h, first, std::min(step, count - first)});
  }
  return items;
}

void attend(const Tensor& query, const Tensor& cache, const Tensor& out, const Tensor& query_start,
            const Tensor& lengths, const Tensor& table, double score_scale, double value_scale,
            double softcap, int64_t window, const std::optional<Tensor>& sinks) {
  const KvCache c = cache_of(cache);
  const int kv_heads = static_cast<int>(cache.size(1));
  const int requests = static_cast<int>(lengths.numel());
  STD_TORCH_CHECK(query.size(1) % kv_heads == 0 && out.size(1) == query.size(1),
                  "quantswarm_cpu: other heads");
  STD_TORCH_CHECK(query_start.numel() == requests + 1 && table.size(0) >= requests,
                  "quantswarm_cpu: other requests");
  STD_TORCH_CHECK(!sinks || (kind_of(*sinks) == Scalar::f32 && sinks->numel() == query.size(1)),
                  "quantswarm_cpu: sinks must be float32, one a query head");
  const Fp8Attention a{c,
                       heads_of(query, c.head_size),
                       heads_of(out, c.head_size),
                       integers(query_start),
                       integers(lengths),
                       integers(table),
                       table.stride(0),
                       static_cast<float>(score_scale),
                       static_cast<float>(value_scale),
                       static_cast<float>(softcap),
                       static_cast<int>(window),
                       static_cast<int>(query.size(1) / kv_heads),
                       sinks ? static_cast<const float*>(sinks->data_ptr()) : nullptr};
  const std::vector<Fp8Item> items = items_of(a, requests, kv_heads);
  const int count = static_cast<int>(items.size());
#pragma omp parallel for schedule(dynamic) if (count > 1)
  for (int i = 0; i < count; i++) quantswarm::fp8_attend_avx2(a, items[i]);
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(quantswarm_cpu, m) {
  m.def(
      "fp8_kv_write(Tensor key, Tensor value, Tensor(a!) cache, Tensor slots, float key_scale,"
      " float value_scale) -> ()");
  m.def("fp8_kv_round(Tensor x, float scale) -> Tensor");
  m.def(
      "fp8_kv_attend(Tensor query, Tensor cache, Tensor(a!) out, Tensor query_start, Tensor lengths,"
      " Tensor table, float score_scale, float value_scale, float softcap, int window, Tensor? sinks)"
      " -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(quantswarm_cpu, CPU, m) {
  m.impl("fp8_kv_write", TORCH_BOX(&store));
  m.impl("fp8_kv_round", TORCH_BOX(&rounded));
  m.impl("fp8_kv_attend", TORCH_BOX(&attend));
}
