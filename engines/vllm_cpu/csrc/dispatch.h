// The kernels by number, which of them this processor has, and one call for each kind of weight.
#pragma once
#include "kernels.h"

namespace quantswarm {

enum Kernel : int {
  kW4A8Avx2 = 0,
  kW4A16Avx2 = 1,
  kW4A8Vnni = 2,
  kW4A16Vnni = 3,
  kW4A16Amx = 4,
  kInt8Avx2 = 5,
  kInt8Vnni = 6,
  kW16A32Avx2 = 7,
  kKernels = 8,
};

int64_t usable();  // bit i: kernel i runs here

struct Activations {
  const void* x;
  Scalar kind;  // f32 or bf16
  int64_t stride;
  int rows, inputs;  // inputs without padding
};

void product4(Kernel kernel, const Weights4& w, const Activations& x, const Out& out);
void product8(Kernel kernel, const Weights8& w, const Activations& x, const Out& out);
void product16(const Weights16& w, const Activations& x, const Out& out);

}  // namespace quantswarm
