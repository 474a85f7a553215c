// The calls on a chain of stages: each thread takes its blocks of images through all of it.
#include "stages/chain_backward.h"
#include "stages/loss.h"
#include "stages/reduce.h"
#include "threads.h"

using namespace convscope;

namespace {

const Plan &plan_of(const void *plan) {
  return *static_cast<const Plan *>(plan);
}

bool known(const int64_t *targets, int64_t batch, int64_t classes) {
  for (int64_t n = 0; n < batch; ++n)
    if (targets[n] < 0 || targets[n] >= classes) return false;
  return true;
}

}  // namespace

extern "C" int64_t convscope_saved_size(const void *plan, int64_t batch) {
  return plan_of(plan).block * ceil_div(batch, IMAGES);
}

extern "C" int64_t convscope_scratch_size(const void *plan, int64_t batch, int threads) {
  const Call call(plan_of(plan), batch, threads, nullptr, nullptr);
  return Space(call, nullptr).size * call.threads;
}

extern "C" int convscope_forward(const void *plan, int64_t batch, int threads, const float *x,
                                 const float *const *parameters, float *out, float *saved,
                                 float *scratch) {
  const Call call(plan_of(plan), batch, threads, x, parameters);
  in_parallel(call.threads, [&](int thread) {
    const Space own = Space::of(call, scratch, thread);
    call.for_groups(thread, [&](int64_t block, int64_t count) {
      float *const space = saved ? saved + block * call.plan.block : own.blocks;
      forward_group(call, block, count, space, saved != nullptr, own);
      store_output(call, block, count, space, out);
    });
  });
  return 0;
}

extern "C" int convscope_backward(const void *plan, int64_t batch, int threads, const float *x,
                                  const float *const *parameters, const float *saved,
                                  const float *grad_out, float *grad_x,
                                  float *const *grad_parameters, float *scratch) {
  const Call call(plan_of(plan), batch, threads, x, parameters);
  const int64_t size = call.plan.stages[call.plan.count - 1].out_size();
  in_parallel(call.threads, [&](int thread) {
    const Space own = Space::of(call, scratch, thread);
    prepare(call, grad_x != nullptr, own);
    call.for_groups(thread, [&](int64_t block, int64_t count) {
      for (int64_t b = block; b < block + count; ++b)
        to_lanes(grad_out + b * IMAGES * size, size, call.images(b), size,
                 own.gradient[0] + (b - block) * call.plan.gradient,
                 call.plan.table(call.plan.identity));
      backward_group(call, block, count, saved + block * call.plan.block, own, grad_x);
    });
  });
  in_parallel(call.threads, [&](int thread) { reduce(call, scratch, thread, grad_parameters); });
  return 0;
}

extern "C" int convscope_step(const void *plan, int64_t batch, int threads, const float *x,
                              const float *const *parameters, const int64_t *targets,
                              const float *shares, float label_smoothing, float *out, float *loss,
                              float *const *grad_parameters, float *scratch) {
  const Call call(plan_of(plan), batch, threads, x, parameters);
  const Stage &last = call.plan.stages[call.plan.count - 1];
  const int64_t classes = last.given.out_channels;
  if (batch < 1 || last.out_area() != 1 || (!targets && !shares)) return CONVSCOPE_E_ARGUMENT;
  if (targets && !known(targets, batch, classes)) return CONVSCOPE_E_ARGUMENT;
  const Targets wanted{targets, shares, label_smoothing};
  in_parallel(call.threads, [&](int thread) {
    const Space own = Space::of(call, scratch, thread);
    prepare(call, false, own);
    double total = 0;
    call.for_groups(thread, [&](int64_t block, int64_t count) {
      forward_group(call, block, count, own.blocks, true, own);
      if (out) store_output(call, block, count, own.blocks, out);
      for (int64_t b = 0; b < count; ++b)
        total += cross_entropy(own.blocks + b * call.plan.block + call.plan.output, classes,
                               wanted.from((block + b) * IMAGES, classes), call.images(block + b),
                               1.f / float(batch), own.gradient[0] + b * call.plan.gradient);
      backward_group(call, block, count, own.blocks, own, nullptr);
    });
    memcpy(own.loss, &total, sizeof total);
  });
  double total = 0;
  for (int thread = 0; thread < call.threads; ++thread) {
    double part;
    memcpy(&part, Space::of(call, scratch, thread).loss, sizeof part);
    total += part;
  }
  *loss = float(total / double(batch));
  in_parallel(call.threads, [&](int thread) { reduce(call, scratch, thread, grad_parameters); });
  return 0;
}
