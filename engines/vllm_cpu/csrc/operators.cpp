// `torch.ops.quantswarm_cpu`: the products as PyTorch operators, through its stable interface, so that
// one library serves several versions of PyTorch.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include "dispatch.h"

namespace {

using quantswarm::Scalar;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

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

quantswarm::Kernel checked(int64_t kernel) {
  STD_TORCH_CHECK(kernel >= 0 && kernel < quantswarm::kKernels && (quantswarm::usable() >> kernel & 1),
                  "quantswarm_cpu: this processor cannot run kernel ", kernel);
  return static_cast<quantswarm::Kernel>(kernel);
}

// Shapes that would read or write out of bounds; everything else is the packer's promise.
void check(const Tensor& x, int64_t blocks, int64_t inputs, int64_t outputs,
           const std::optional<Tensor>& bias) {
  STD_TORCH_CHECK(x.dim() == 2 && (x.stride(1) == 1 || x.size(1) == 1),
                  "quantswarm_cpu: rows must be contiguous");
  STD_TORCH_CHECK(x.size(1) <= inputs && x.size(1) > inputs - 32,
                  "quantswarm_cpu: weights are for other inputs");
  STD_TORCH_CHECK(outputs <= blocks * 16 && outputs > blocks * 16 - 16,
                  "quantswarm_cpu: weights are for other outputs");
  STD_TORCH_CHECK(kind_of(x) != Scalar::f16, "quantswarm_cpu: float16 activations");
  STD_TORCH_CHECK(!bias || (kind_of(*bias) == Scalar::f32 && bias->numel() == outputs),
                  "quantswarm_cpu: the bias must be float32, one an output");
}

quantswarm::Activations rows_of(const Tensor& x) {
  return {x.data_ptr(), kind_of(x), x.stride(0), static_cast<int>(x.size(0)),
          static_cast<int>(x.size(1))};
}

quantswarm::Out out_of(const Tensor& y, const std::optional<Tensor>& bias) {
  return {y.data_ptr(), kind_of(y), y.stride(0), static_cast<int>(y.size(1)),
          bias ? static_cast<const float*>(bias->data_ptr()) : nullptr};
}

Tensor linear4(const Tensor& x, const Tensor& q, const Tensor& scale,
               const std::optional<Tensor>& zero, const std::optional<Tensor>& bias,
               int64_t outputs, int64_t few, int64_t many, int64_t few_rows) {
  check(x, q.size(0), q.size(1) * 8, outputs, bias);
  const Tensor y = torch::stable::new_empty(x, {x.size(0), outputs});
  const int blocks = static_cast<int>(q.size(0)), inputs = static_cast<int>(q.size(1) * 8);
  const quantswarm::Weights4 w{
      static_cast<const uint32_t*>(q.data_ptr()), scale.data_ptr(),
      zero ? static_cast<const uint8_t*>(zero->data_ptr()) : nullptr, kind_of(scale), blocks, inputs,
      inputs / static_cast<int>(scale.size(0))};
  const auto kernel = checked(x.size(0) > few_rows ? many : few);
  if (x.size(0) > 0) quantswarm::product4(kernel, w, rows_of(x), out_of(y, bias));
  return y;
}

Tensor linear8(const Tensor& x, const Tensor& q, const Tensor& scale, const Tensor& sum,
               const std::optional<Tensor>& bias, int64_t outputs, int64_t kernel) {
  check(x, q.size(0), q.size(1) * 4, outputs, bias);
  const Tensor y = torch::stable::new_empty(x, {x.size(0), outputs});
  const quantswarm::Weights8 w{static_cast<const int8_t*>(q.data_ptr()),
                               static_cast<const float*>(scale.data_ptr()),
                               static_cast<const int32_t*>(sum.data_ptr()),
                               static_cast<int>(q.size(0)), static_cast<int>(q.size(1) * 4)};
  if (x.size(0) > 0) quantswarm::product8(checked(kernel), w, rows_of(x), out_of(y, bias));
  return y;
}

Tensor linear16(const Tensor& x, const Tensor& w, const std::optional<Tensor>& bias) {
  STD_TORCH_CHECK(x.dim() == 2 && w.dim() == 2 && x.size(1) == w.size(1) && x.size(1) % 8 == 0,
                  "quantswarm_cpu: weights are for other inputs");
  STD_TORCH_CHECK(x.size(1) == 0 || (x.stride(1) == 1 && w.stride(1) == 1),
                  "quantswarm_cpu: rows must be contiguous");
  STD_TORCH_CHECK(kind_of(x) == Scalar::f32 && kind_of(w) != Scalar::f32,
                  "quantswarm_cpu: float32 activations and weights of 16 bits are wanted");
  STD_TORCH_CHECK(!bias || (kind_of(*bias) == Scalar::f32 && bias->numel() == w.size(0)),
                  "quantswarm_cpu: the bias must be float32, one an output");
  checked(quantswarm::kW16A32Avx2);
  const Tensor y = torch::stable::new_empty(x, {x.size(0), w.size(0)});
  const quantswarm::Weights16 weights{static_cast<const uint16_t*>(w.data_ptr()), kind_of(w),
                                      w.stride(0), static_cast<int>(w.size(0)),
                                      static_cast<int>(w.size(1))};
  if (x.size(0) > 0) quantswarm::product16(weights, rows_of(x), out_of(y, bias));
  return y;
}

}  // namespace

// Bit i: kernel i runs on this processor. Plain C, so that it can be asked without PyTorch.
extern "C" __attribute__((visibility("default"))) int64_t quantswarm_cpu_usable() {
  return quantswarm::usable();
}

STABLE_TORCH_LIBRARY(quantswarm_cpu, m) {
  m.def(
      "linear4(Tensor x, Tensor q, Tensor scale, Tensor? zero, Tensor? bias, int outputs, int few,"
      " int many, int few_rows) -> Tensor");
  m.def(
      "linear8(Tensor x, Tensor q, Tensor scale, Tensor sum, Tensor? bias, int outputs, int kernel)"
      " -> Tensor");
  m.def("linear16(Tensor x, Tensor w, Tensor? bias) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(quantswarm_cpu, CPU, m) {
  m.impl("linear4", TORCH_BOX(&linear4));
  m.impl("linear8", TORCH_BOX(&linear8));
  m.impl("linear16", TORCH_BOX(&linear16));
}
