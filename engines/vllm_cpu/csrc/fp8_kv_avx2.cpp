// e4m3 with AVX2 and F16C. A stored byte is widened without a table: its bits, moved, are a half of
// 2^-8 times its value (subnormals too), and VCVTPH2PS does the rest; the factor of 256 goes into scales
// that are multiplied anyway.
#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "fp8_kv.h"

namespace quantswarm {
namespace {

constexpr float kUnit = 256.0f;     // a byte's value over what `widen` makes of it
constexpr float kLargest = 448.0f;  // of e4m3; larger numbers become it
constexpr int kTile = 32;           // tokens of the cache that are widened at a time
constexpr float kNone = -std::numeric_limits<float>::infinity();

inline __m256 widen(const uint8_t* from) {
  const __m128i x = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
  const __m128i sign = _mm_slli_epi16(_mm_and_si128(x, _mm_set1_epi16(0x80)), 8);
  const __m128i rest = _mm_slli_epi16(_mm_and_si128(x, _mm_set1_epi16(0x7f)), 7);
  return _mm256_cvtph_ps(_mm_or_si128(sign, rest));
}

inline __m256 load8(const void* from, Scalar kind, int64_t at) {
  if (kind == Scalar::f32) return _mm256_loadu_ps(static_cast<const float*>(from) + at);
  const auto* narrow = static_cast<const uint16_t*>(from) + at;
  const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(narrow));
  if (kind == Scalar::f16) return _mm256_cvtph_ps(x);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}

inline void store8(void* to, Scalar kind, int64_t at, __m256 x) {
  if (kind == Scalar::f32) return _mm256_storeu_ps(static_cast<float*>(to) + at, x);
  auto* narrow = reinterpret_cast<__m128i*>(static_cast<uint16_t*>(to) + at);
  if (kind == Scalar::f16)
    return _mm_storeu_si128(narrow, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i even = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(even, _mm256_set1_epi32(0x7fff)));
  const __m256i top = _mm256_srli_epi32(up, 16);
  const __m256i packed = _mm256_packus_epi32(top, top);
  _mm_storeu_si128(narrow, _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08)));
}

// To the nearest e4m3 code, ties to even, in the low byte of each lane. Below 2^-6 the codes are
// multiples of 2^-9: adding 2^14 rounds to them, since that is where float32 has this spacing.
inline __m256i to_e4m3(__m256 x) {
  const __m256 sign_bit = _mm256_set1_ps(-0.0f);
  const __m256 size = _mm256_min_ps(_mm256_andnot_ps(sign_bit, x), _mm256_set1_ps(kLargest));
  const __m256i bits = _mm256_castps_si256(size);
  const __m256i even = _mm256_and_si256(_mm256_srli_epi32(bits, 20), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(bits, _mm256_add_epi32(even, _mm256_set1_epi32(0x7ffff)));
  const __m256i normal = _mm256_sub_epi32(_mm256_srli_epi32(up, 20), _mm256_set1_epi32(120 << 3));
  const __m256 shift = _mm256_set1_ps(16384.0f);
  const __m256i small = _mm256_sub_epi32(_mm256_castps_si256(_mm256_add_ps(size, shift)),
                                         _mm256_castps_si256(shift));
  const __m256 is_small = _mm256_cmp_ps(size, _mm256_set1_ps(0.015625f), _CMP_LT_OQ);
  const __m256i code =
      _mm256_blendv_epi8(normal, small, _mm256_castps_si256(is_small));
  const __m256i sign = _mm256_srli_epi32(_mm256_castps_si256(_mm256_and_ps(x, sign_bit)), 24);
  return _mm256_or_si256(code, sign);
}

inline uint64_t low_bytes(__m256i lanes) {
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(lanes),
                                         _mm256_extracti128_si256(lanes, 1));
  return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_packus_epi16(words, words)));
}

// e^x for x <= 0, to 2e-7 of itself.
inline __m256 exponential(__m256 x) {
  x = _mm256_max_ps(x, _mm256_set1_ps(-87.0f));
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)),
                                   _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
  __m256 y = _mm256_set1_ps(1.0f / 720);
  for (const float term : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    y = _mm256_fmadd_ps(y, r, _mm256_set1_ps(term));
  const __m256i power = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), power));
}

inline float largest(__m256 x) {
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

inline float total(__m256 x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

// A thread's own room, kept between calls.
struct Scratch {
  std::vector<float> query, sum, scores, keys, values, top, weight;
  std::vector<int> from, until;  // tokens of the cache that each row sees

  void fit(int rows, int head_size) {
    query.resize(rows * head_size);
    sum.assign(rows * head_size, 0.0f);
    scores.resize(rows * kTile);
    keys.resize(kTile * head_size);
    values.resize(kTile * head_size);
    top.assign(rows, kNone);
    weight.assign(rows, 0.0f);
    from.resize(rows);
    until.resize(rows);
  }
};

// Scores of R rows with the widened keys of a tile: 16 tokens at a time.
template <int R>
void score(const float* query, const float* keys, int head_size, float* scores) {
  for (int half = 0; half < 2; half++) {
    const float* first = keys + 2 * half * 8 * head_size;
    const float* second = first + 8 * head_size;
    __m256 s[R][2];
    for (int r = 0; r < R; r++) s[r][0] = s[r][1] = _mm256_setzero_ps();
    for (int d = 0; d < head_size; d++) {
      const __m256 k0 = _mm256_loadu_ps(first + 8 * d), k1 = _mm256_loadu_ps(second + 8 * d);
      for (int r = 0; r < R; r++) {
        const __m256 q = _mm256_broadcast_ss(query + r * head_size + d);
        s[r][0] = _mm256_fmadd_ps(q, k0, s[r][0]);
        s[r][1] = _mm256_fmadd_ps(q, k1, s[r][1]);
      }
    }
    for (int r = 0; r < R; r++) {
      _mm256_storeu_ps(scores + r * kTile + 16 * half, s[r][0]);
      _mm256_storeu_ps(scores + r * kTile + 16 * half + 8, s[r][1]);
    }
  }
}

// Adds the tile's values, weighted, to R rows: 16 numbers of the head at a time.
template <int R>
void gather(const float* weights, const float* values, int tokens, int head_size, float* sum) {
  for (int d = 0; d < head_size; d += 16) {
    __m256 s[R][2];
    for (int r = 0; r < R; r++) {
      s[r][0] = _mm256_loadu_ps(sum + r * head_size + d);
      s[r][1] = _mm256_loadu_ps(sum + r * head_size + d + 8);
    }
    for (int t = 0; t < tokens; t++) {
      const __m256 v0 = _mm256_loadu_ps(values + t * head_size + d);
      const __m256 v1 = _mm256_loadu_ps(values + t * head_size + d + 8);
      for (int r = 0; r < R; r++) {
        const __m256 p = _mm256_broadcast_ss(weights + r * kTile + t);
        s[r][0] = _mm256_fmadd_ps(p, v0, s[r][0]);
        s[r][1] = _mm256_fmadd_ps(p, v1, s[r][1]);
      }
    }
    for (int r = 0; r < R; r++) {
      _mm256_storeu_ps(sum + r * head_size + d, s[r][0]);
      _mm256_storeu_ps(sum + r * head_size + d + 8, s[r][1]);
    }
  }
}

template <class Work>
void by_fours(int rows, Work work) {
  int row = 0;
  for (; row + 4 <= rows; row += 4) work(std::integral_constant<int, 4>{}, row);
  if (rows - row == 3) work(std::integral_constant<int, 3>{}, row);
  if (rows - row == 2) work(std::integral_constant<int, 2>{}, row);
  if (rows - row == 1) work(std::integral_constant<int, 1>{}, row);
}

void cap(float* scores, float softcap) {
  for (int t = 0; t < kTile; t++) scores[t] = softcap * std::tanh(scores[t] / softcap);
}

// One row's scores of the tile at `begin` become weights; what was summed before is made comparable.
void weigh(const Fp8Attention& a, Scratch& s, int row, int begin) {
  float* scores = s.scores.data() + row * kTile;
  if (a.softcap > 0) cap(scores, a.softcap);
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i from = _mm256_set1_epi32(s.from[row] - 1), until = _mm256_set1_epi32(s.until[row]);
  __m256 x[4], high = _mm256_set1_ps(kNone);
  for (int i = 0; i < 4; i++) {
    const __m256i at = _mm256_add_epi32(_mm256_set1_epi32(begin + 8 * i), lanes);
    const __m256i seen = _mm256_and_si256(_mm256_cmpgt_epi32(at, from), _mm256_cmpgt_epi32(until, at));
    x[i] = _mm256_blendv_ps(_mm256_set1_ps(kNone), _mm256_loadu_ps(scores + 8 * i),
                            _mm256_castsi256_ps(seen));
    high = _mm256_max_ps(high, x[i]);
  }
  const float before = s.top[row], top = std::max(before, largest(high));
  if (top == kNone) {
    std::fill(scores, scores + kTile, 0.0f);
    return;
  }
  __m256 sum = _mm256_setzero_ps();
  for (int i = 0; i < 4; i++) {
    const __m256 none = _mm256_cmp_ps(x[i], _mm256_set1_ps(kNone), _CMP_EQ_OQ);
    const __m256 weight = exponential(_mm256_sub_ps(x[i], _mm256_set1_ps(top)));
    x[i] = _mm256_andnot_ps(none, weight);
    _mm256_storeu_ps(scores + 8 * i, x[i]);
    sum = _mm256_add_ps(sum, x[i]);
  }
  const float keep = before == kNone ? 0.0f : std::exp(before - top);
  s.top[row] = top;
  s.weight[row] = s.weight[row] * keep + total(sum);
  if (keep == 1.0f) return;
  float* kept = s.sum.data() + row * a.cache.head_size;
  for (int d = 0; d < a.cache.head_size; d += 8)
    _mm256_storeu_ps(kept + d, _mm256_mul_ps(_mm256_loadu_ps(kept + d), _mm256_set1_ps(keep)));
}

void prepare_rows(const Fp8Attention& a, const Fp8Item& item, Scratch& s) {
  const int start = a.query_start[item.request];
  const int before = a.lengths[item.request] - (a.query_start[item.request + 1] - start);
  const __m256 scale = _mm256_set1_ps(a.score_scale * kUnit);
  for (int i = 0; i < item.tokens; i++) {
    const int position = before + item.first + i;
    for (int g = 0; g < a.group; g++) {
      const int row = i * a.group + g, head = item.kv_head * a.group + g;
      const int64_t at = (start + item.first + i) * a.query.token_stride + head * a.query.head_stride;
      for (int d = 0; d < a.cache.head_size; d += 8)
        _mm256_storeu_ps(s.query.data() + row * a.cache.head_size + d,
                         _mm256_mul_ps(load8(a.query.data, a.query.kind, at + d), scale));
      s.until[row] = position + 1;
      s.from[row] = a.window > 0 ? std::max(0, position + 1 - a.window) : 0;
      if (a.sinks != nullptr) {
        s.top[row] = a.sinks[head];
        s.weight[row] = 1.0f;
      }
    }
  }
}

void store_rows(const Fp8Attention& a, const Fp8Item& item, const Scratch& s) {
  const int start = a.query_start[item.request] + item.first;
  for (int row = 0; row < item.tokens * a.group; row++) {
    const int head = item.kv_head * a.group + row % a.group;
    const int64_t at = (start + row / a.group) * a.out.token_stride + head * a.out.head_stride;
    const __m256 factor = _mm256_set1_ps(a.value_scale * kUnit / s.weight[row]);
    for (int d = 0; d < a.cache.head_size; d += 8) {
      const __m256 x = _mm256_loadu_ps(s.sum.data() + row * a.cache.head_size + d);
      store8(a.out.data, a.out.kind, at + d, _mm256_mul_ps(x, factor));
    }
  }
}

}  // namespace

void fp8_attend_avx2(const Fp8Attention& a, const Fp8Item& item) {
  static thread_local Scratch s;
  const KvCache& c = a.cache;
  const int rows = item.tokens * a.group, size = c.head_size;
  s.fit(rows, size);
  prepare_rows(a, item, s);
  const int end = s.until[rows - 1];
  for (int begin = s.from[0] / kTile * kTile; begin < end; begin += kTile) {
    const int64_t block = a.table[item.request * a.table_stride + begin / c.block_size];
    const uint8_t* head = c.data + block * c.block_stride + item.kv_head * c.head_stride;
    const int within = begin % c.block_size, tokens = std::min(kTile, end - begin);
    const uint8_t* keys = head + within * size;
    const uint8_t* values = head + c.block_size * size + within * size;
    for (int i = 0; i < kTile * size; i += 8) _mm256_storeu_ps(s.keys.data() + i, widen(keys + i));
    for (int i = 0; i < tokens * size; i += 8)
      _mm256_storeu_ps(s.values.data() + i, widen(values + i));
    by_fours(rows, [&](auto r, int row) {
      score<r()>(s.query.data() + row * size, s.keys.data(), size, s.scores.data() + row * kTile);
    });
    for (int row = 0; row < rows; row++) weigh(a, s, row, begin);
    by_fours(rows, [&](auto r, int row) {
      gather<r()>(s.scores.data() + row * kTile, s.values.data(), tokens, size,
                  s.sum.data() + row * size);
    });
  }
  store_rows(a, item, s);
}

void fp8_write_avx2(const Fp8Write& w, int64_t token, int64_t slot, int heads) {
  const KvCache& c = w.cache;
  const int within = static_cast<int>(slot % c.block_size), size = c.head_size;
  const __m256 by_key = _mm256_set1_ps(w.key_scale), by_value = _mm256_set1_ps(w.value_scale);
  for (int h = 0; h < heads; h++) {
    uint8_t* head = c.data + slot / c.block_size * c.block_stride + h * c.head_stride;
    uint8_t* key = head + within / 8 * 8 * size + within % 8;
    uint8_t* value = head + c.block_size * size + within * size;
    const int64_t key_at = token * w.key.token_stride + h * w.key.head_stride;
    const int64_t value_at = token * w.value.token_stride + h * w.value.head_stride;
    for (int d = 0; d < size; d += 8) {
      const __m256 k = load8(w.key.data, w.key.kind, key_at + d);
      const uint64_t codes = low_bytes(to_e4m3(_mm256_div_ps(k, by_key)));
      for (int i = 0; i < 8; i++) key[(d + i) * 8] = static_cast<uint8_t>(codes >> 8 * i);
      const __m256 v = load8(w.value.data, w.value.kind, value_at + d);
      const uint64_t row = low_bytes(to_e4m3(_mm256_div_ps(v, by_value)));
      std::memcpy(value + d, &row, 8);
    }
  }
}

void fp8_round_avx2(const void* x, Scalar kind, float scale, int64_t count, void* y) {
  for (int64_t i = 0; i < count; i += 8) {
    const __m256 scaled = _mm256_div_ps(load8(x, kind, i), _mm256_set1_ps(scale));
    const uint64_t codes = low_bytes(to_e4m3(scaled));
    uint8_t bytes[8];
    std::memcpy(bytes, &codes, 8);
    store8(y, kind, i, _mm256_mul_ps(widen(bytes), _mm256_set1_ps(kUnit)));
  }
}

}  // namespace quantswarm
