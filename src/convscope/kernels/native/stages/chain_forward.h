// A group of blocks through all stages, forward.
#pragma once
#include <string.h>

#include "stages/forward.h"
#include "stages/space.h"
#include "stages/transpose.h"

namespace convscope {

// Where stage n of a block writes its output: into the next stage's input, or the chain's.
inline Map output_map(const Plan &plan, int64_t n, float *block) {
  const Stage &stage = plan.stages[n];
  if (n + 1 == plan.count) return plain_map(block + plan.output, stage.out_height, stage.out_width);
  const Stage &next = plan.stages[n + 1];
  if (next.connected()) return plain_map(block + next.input, stage.out_height, stage.out_width);
  Map map = plain_map(block + next.input, next.padded_height, next.padded_width);
  map.at += next.given.top * map.row + next.given.left * map.column;
  return map;
}

// Images of the user, [c][y][x] each, into a map of the first stage, inside its border.
inline void load_input(const Call &call, int64_t block, float *map) {
  const Stage &first = call.plan.stages[0];
  if (first.bordered()) memset(map, 0, size_t(call.plan.first_input) * 4);
  to_lanes(call.x + block * IMAGES * first.in_size(), first.in_size(), call.images(block),
           first.in_size(), map, call.plan.table(first.by_channel));
}

// The border of stage n's input holds zeros; what is inside will be written.
inline void clear_border(const Plan &plan, int64_t n, float *block) {
  if (n == plan.count || !plan.stages[n].bordered()) return;
  memset(block + plan.stages[n].input, 0, size_t(plan.stages[n].padded_size() * IMAGES) * 4);
}

// What a stage keeps but does not write: behind the winners, and slopes under no window.
// It is never read, but what is saved then depends on nothing but the input.
inline void clear_unused(const Stage &stage, float *block) {
  const int64_t bytes = stage.out_size() * IMAGES;
  if (stage.max_pooled)
    memset(reinterpret_cast<uint8_t *>(block + stage.winners) + bytes, 0,
           size_t(round_up(bytes / 4) * 4 - bytes));
  if (stage.pooled && !stage.max_pooled && stage.slopes >= 0)
    memset(block + stage.slopes, 0,
           size_t(stage.given.out_channels * stage.conv_area() * IMAGES) * 4);
}

inline void forward_stage(const Call &call, int64_t n, int64_t block, int64_t count, float *space,
                          bool training, const Space &own) {
  const Plan &plan = call.plan;
  const Stage &stage = plan.stages[n];
  const float *weight = call.weight(n), *bias = call.bias(n);
  const auto slopes = [&](float *at) {
    return training && stage.slopes >= 0 ? at + stage.slopes : nullptr;
  };
  for (int64_t b = 0; b < count; ++b) clear_border(plan, n + 1, space + b * plan.block);
  if (stage.connected()) {
    if (n == 0)
      for (int64_t b = 0; b < count; ++b)
        load_input(call, block + b, own.input + b * plan.first_input);
    forward_connected(plan, stage, n ? space + stage.input : own.input,
                      n ? plan.block : plan.first_input, output_map(plan, n, space), slopes(space),
                      plan.block, count, weight, bias);
    return;
  }
  for (int64_t b = 0; b < count; ++b, space += plan.block) {
    if (n == 0) load_input(call, block + b, own.input);
    if (training) clear_unused(stage, space);
    const bool keep = training && stage.max_pooled;
    const Target target{stage, output_map(plan, n, space),
                        keep ? reinterpret_cast<uint8_t *>(space + stage.winners) : nullptr,
                        slopes(space)};
    forward_block(plan, target, n ? space + stage.input : own.input, weight, bias, own.map);
  }
}

inline void forward_group(const Call &call, int64_t block, int64_t count, float *space,
                          bool training, const Space &own) {
  for (int64_t n = 0; n < call.plan.count; ++n)
    forward_stage(call, n, block, count, space, training, own);
}

// The last map of a group as images of the user.
inline void store_output(const Call &call, int64_t block, int64_t count, const float *space,
                         float *out) {
  const Plan &plan = call.plan;
  const int64_t size = plan.stages[plan.count - 1].out_size();
  for (int64_t b = 0; b < count; ++b)
    to_images(space + b * plan.block + plan.output, plan.table(plan.identity), size,
              out + (block + b) * IMAGES * size, size, call.images(block + b));
}

}  // namespace convscope
