// What the kernels share: how packed weights and prepared activations lie, and the kernels themselves.
//
// 4-bit weights lie in blocks of 16 outputs. Within a block, 8 inputs of 16 outputs are 64 bytes: one
// 32-bit lane an output, and in each lane nibble i holds input 2i for i < 4 and 2(i-4)+1 above. One
// order serves every kernel: a lane's bytes are four inputs in the order 0 4 1 5 and, shifted by four,
// 2 6 3 7 (VPDPBUSD, VPMADDUBSW); its 16-bit halves, shifted, are pairs of neighbours (AMX, bfloat16).
//
// Activations for the integer kernels are whole numbers with one scale for 32 inputs: a plane of bytes
// for w4a8; for w4a16 two planes that make 16 bits, 256 * high + low, both signed. Sums of integers are
// exact; 16 bits leave an error of 2^-16 of a block's largest activation, far below bfloat16's own.
//
// Inputs are padded to a multiple of 32, outputs to a multiple of 16, both by the packer.
#pragma once
#include <cstdint>

namespace quantswarm {

constexpr int kColumns = 16;  // outputs of a block
constexpr int kBlock = 32;    // inputs that share one activation scale

enum class Scalar : int { f32 = 0, bf16 = 1, f16 = 2 };

struct Weights4 {
  const uint32_t* q;    // [blocks][inputs / 8][16]
  const void* scale;    // [groups][blocks * 16], of `scale_kind`
  const uint8_t* zero;  // the same shape, 0 to 15; null: 8 everywhere
  Scalar scale_kind;
  int blocks, inputs, group;
};

struct Weights8 {
  const int8_t* q;     // [blocks][inputs / 4][16][4]
  const float* scale;  // [blocks * 16]
  const int32_t* sum;  // [blocks * 16]: of each output's weights
  int blocks, inputs;
};

struct Weights16 {
  const uint16_t* w;  // [outputs][inputs]
  Scalar kind;        // bf16 or f16
  int64_t stride;     // in elements
  int outputs, inputs;  // inputs: a multiple of 8
};

struct Rows {
  const void* x;
  int64_t stride;  // in elements
  int count;
  const float* scale;      // w4a8, w4a16: [count][inputs / 32]; int8: [count]
  const float* group_sum;  // [count][groups]: the inputs' sums, which zero points are multiplied with
};

struct Out {
  void* y;
  Scalar kind;  // f32 or bf16
  int64_t stride;
  int columns;        // outputs without padding
  const float* bias;  // or null
};

// Every product computes outputs [16 * begin, 16 * end) of all rows: the unit that threads share out.
using Product4 = void (*)(const Weights4&, const Rows&, const Out&, int begin, int end);
using Product8 = void (*)(const Weights8&, const Rows&, const Out&, int begin, int end);

void w4a8_avx2(const Weights4&, const Rows&, const Out&, int begin, int end);   // x: one plane
void w4a16_avx2(const Weights4&, const Rows&, const Out&, int begin, int end);  // x: two planes
void w4a8_vnni(const Weights4&, const Rows&, const Out&, int begin, int end);   // x: one plane
void w4a16_vnni(const Weights4&, const Rows&, const Out&, int begin, int end);  // x: two planes
void w4a16_amx_few(const Weights4&, const Rows&, const Out&, int begin, int end);   // x: bfloat16
void w4a16_amx_many(const Weights4&, const Rows&, const Out&, int begin, int end);  // x: bfloat16 tiles
void int8_avx2(const Weights8&, const Rows&, const Out&, int begin, int end);   // x: int16
void int8_vnni(const Weights8&, const Rows&, const Out&, int begin, int end);   // x: uint8

// Outputs [begin, end) of all rows; x and y: float32.
void w16a32_avx2(const Weights16&, const Rows&, const Out&, int begin, int end);

constexpr int kFewAmx = 32;  // rows that `w4a16_amx_few` takes; `w4a16_amx_many` the rest

bool amx_usable();  // asks Linux for the tile registers, once

// One row each. `to` has room for `padded` elements; those beyond `inputs` become zero.
void widen_row(const void* from, Scalar kind, int inputs, int padded, float* to);
void sum_groups(const float* row, int padded, int group, float* sums);
void quantize_planes(const float* row, int padded, int group, int planes, int8_t* to, float* scales,
                     float* group_sums);
float quantize_row_u8(const float* row, int padded, uint8_t* to);
float quantize_row_i16(const float* row, int padded, int16_t* to);

}  // namespace quantswarm
