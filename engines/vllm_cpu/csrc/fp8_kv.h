// The key-value cache in e4m3 (4 bits of exponent, 3 of mantissa): writing it, and attention over it.
//
// vLLM hands out one tensor a layer, [blocks][kv_heads][block_size][2 * head_size] bytes, and leaves the
// order inside a block and head to whoever writes and reads it. Ours: first the keys, eight tokens side
// by side for each of the head's numbers ([block_size / 8][head_size][8]), so that a vector of scores
// needs no sum across lanes; then the values, one token after the other ([block_size][head_size]).
#pragma once
#include "kernels.h"

namespace quantswarm {

struct KvCache {
  uint8_t* data;
  int64_t block_stride, head_stride;  // in bytes
  int block_size, head_size;          // multiples of 32 and of 16
};

// Vectors of numbers, one a token and head: queries, keys, values or outputs.
struct Heads {
  void* data;
  Scalar kind;
  int64_t token_stride, head_stride;  // in elements; a head's own numbers are contiguous
};

struct Fp8Write {
  KvCache cache;
  Heads key, value;
  float key_scale, value_scale;  // what is stored is multiplied with them when it is read
};

struct Fp8Attention {
  KvCache cache;
  Heads query, out;
  const int32_t* query_start;  // [requests + 1]: the first query token of each request
  const int32_t* lengths;      // [requests]: tokens in the cache, those of this step included
  const int32_t* table;        // [requests][table_stride]: blocks of each request
  int64_t table_stride;
  float score_scale, value_scale;
  float softcap;       // 0 for none
  int window;          // how many tokens a query sees, itself included; -1 for all
  int group;           // query heads that share a head of the cache
  const float* sinks;  // [query heads] or null: a score that takes part of the sum and has no value
};

// One unit of work: some query tokens of a request, with one head of the cache.
struct Fp8Item {
  int request, kv_head, first, tokens;
};

void fp8_write_avx2(const Fp8Write& w, int64_t token, int64_t slot, int heads);
void fp8_round_avx2(const void* x, Scalar kind, float scale, int64_t count, void* y);
void fp8_attend_avx2(const Fp8Attention& a, const Fp8Item& item);

}  // namespace quantswarm
