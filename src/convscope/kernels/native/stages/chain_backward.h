// A group of blocks through all stages, backward: from the gradient of the last map, in
// own.gradient[0], to the sums of the gradients of all weights and biases.
#pragma once
#include "stages/chain_forward.h"
#include "stages/dense.h"
#include "stages/patches.h"
#include "stages/winners.h"

namespace convscope {

// Weights in the order in which gradients of inputs want them, once per call.
inline void prepare(const Call &call, bool grad_x, const Space &own) {
  const Plan &plan = call.plan;
  memset(own.sums, 0, size_t(plan.sums) * 4);
  for (int64_t n = grad_x ? 0 : 1; n < plan.count; ++n) {
    const Stage &stage = plan.stages[n];
    if (stage.connected()) continue;
    if (stage.by_patches)
      turn_for_patches(stage, call.weight(n), own.turned + stage.turned);
    else if (stage.by_winners)
      turn_for_winners(stage, call.weight(n), own.turned + stage.turned);
    else
      turn_for_dense(stage, call.weight(n), own.turned + stage.turned);
  }
}

// From the gradient of what pooling (or the activation) gave to that of what it got.
inline void apply_slopes(const Stage &stage, const Map &out, const float *slopes, float *g) {
  const int64_t kind = stage.given.activation;
  if (kind == CONVSCOPE_NONE) return;
  for (int64_t o = 0; o < stage.given.out_channels; ++o)
    for (int64_t row = 0; row < stage.out_height; ++row)
      for (int64_t column = 0; column < stage.out_width; ++column)
        for (int lane = 0; lane < IMAGES; lane += LANES, g += LANES) {
          const Lanes y = load(out.place(o, row, column) + lane);
          if (slopes) {
            store(g, load(g) * load(slopes));
            slopes += LANES;
          } else if (kind == CONVSCOPE_RELU) {
            store(g, y <= 0.f ? Lanes{} : load(g));
          } else {
            store(g, load(g) * slope(kind, y, y));
          }
        }
}

// The input of stage n as images [y][x][c], border included.
inline void load_images(const Call &call, int64_t n, int64_t block, const float *space,
                        const Space &own, float *images) {
  const Plan &plan = call.plan;
  const Stage &stage = plan.stages[n];
  const convscope_stage &s = stage.given;
  const int64_t pixels = stage.padded_height * stage.padded_width * s.in_channels;
  if (n > 0) {
    to_images(space + stage.input, plan.table(stage.by_pixel), pixels, images, stage.image, IMAGES);
    return;
  }
  if (s.in_channels > 1 && !stage.connected()) {
    load_input(call, block, own.input);
    to_images(own.input, plan.table(stage.by_pixel), pixels, images, stage.image, IMAGES);
    return;
  }
  // One channel, or one pixel: the user's order is already the right one.
  const int64_t width = stage.connected() ? s.in_channels : s.in_width;
  memset(images, 0, size_t(stage.image * IMAGES) * 4);
  for (int64_t image = 0; image < call.images(block); ++image)
    for (int64_t y = 0; y < s.in_height; ++y)
      memcpy(images + image * stage.image + (y + s.top) * stage.padded_width + s.left,
             call.x + (block * IMAGES + image) * stage.in_size() + y * width, size_t(width) * 4);
}

inline void backward_winners(const Call &call, int64_t n, const float *space, const float *g,
                             const Space &own, float *to) {
  const Plan &plan = call.plan;
  const Stage &stage = plan.stages[n];
  float *const spread = to ? own.image_gradients : nullptr;
  if (spread) memset(spread, 0, size_t(stage.image * IMAGES) * 4);
  const int64_t lists = stage.given.out_channels * stage.list();
  const Lists rows{own.list, reinterpret_cast<int32_t *>(own.list + lists),
                   reinterpret_cast<int64_t *>(own.list + 2 * lists), stage.list()};
  backward_by_winners(stage, reinterpret_cast<const uint8_t *>(space + stage.winners), g,
                      own.images, stage.by_patches ? nullptr : spread, own.turned + stage.turned,
                      own.sums + stage.weight_sum, own.sums + stage.bias_sum, rows);
  if (!spread) return;
  if (stage.by_patches)
    backward_by_patches(stage, plan.table(stage.by_place),
                        reinterpret_cast<const uint8_t *>(space + stage.winners), g,
                        own.turned + stage.turned, spread, own.spare);
  to_lanes(spread, stage.image, IMAGES,
           stage.padded_height * stage.padded_width * stage.given.in_channels, to,
           plan.table(stage.unpadded_by_pixel));
}

// Gradients of a convolution's own outputs, in a map whose border is as wide as taps reach.
inline void spread_gradients(const Stage &stage, const float *g, const float *slopes,
                             const Map &map) {
  const convscope_stage &s = stage.given;
  const float share = 1.f / float(s.pool_height * s.pool_width);
  for (int64_t o = 0; o < s.out_channels; ++o)
    for (int64_t row = 0; row < stage.out_height; ++row)
      for (int64_t column = 0; column < stage.out_width; ++column, g += IMAGES)
        for (int64_t i = 0; i < s.pool_height; ++i)
          for (int64_t j = 0; j < s.pool_width; ++j) {
            const int64_t y = row * s.pool_stride_height + i;
            const int64_t x = column * s.pool_stride_width + j;
            float *to = map.place(o, y, x);
            const float *factor =
                slopes ? slopes + ((o * stage.height + y) * stage.width + x) * IMAGES : nullptr;
            for (int lane = 0; lane < IMAGES; lane += LANES) {
              Lanes part = load(g + lane) * share;
              if (factor) part *= load(factor + lane);
              store(to + lane, load(to + lane) + part);
            }
          }
}

inline void backward_dense(const Call &call, int64_t n, int64_t block, const float *space,
                           const float *g, const Space &own, float *to) {
  const Plan &plan = call.plan;
  const Stage &stage = plan.stages[n];
  const bool pooled = stage.pooled;
  Map map = plain_map(own.bordered, stage.gradient_height(), stage.gradient_width());
  memset(own.bordered, 0, size_t(stage.given.out_channels * map.channel) * 4);
  map.at += stage.reach_height() * map.row + stage.reach_width() * map.column;
  spread_gradients(stage, g, pooled && stage.slopes >= 0 ? space + stage.slopes : nullptr, map);
  const Gradients gradients{map.at, map.channel, map.row, map.column, 0};
  const int images = call.images(block);
  dense_bias_sums(stage, gradients, 1, own.sums + stage.bias_sum);
  dense_weight_sums(stage, gradients, own.images, 1, images, own.sums + stage.weight_sum);
  if (to) dense_input_gradient(plan, stage, own.bordered, own.turned + stage.turned, to);
}

inline void backward_connected(const Call &call, int64_t n, int64_t block, int64_t count,
                               const float *space, const float *g, const Space &own, float *to) {
  const Plan &plan = call.plan;
  const Stage &stage = plan.stages[n];
  const Gradients gradients{g, IMAGES, 0, 0, plan.gradient};
  const int64_t images = least(count * IMAGES, call.batch - block * IMAGES);
  for (int64_t b = 0; b < count; ++b)
    load_images(call, n, block + b, space + b * plan.block, own,
                own.images + b * IMAGES * stage.image);
  dense_bias_sums(stage, gradients, count, own.sums + stage.bias_sum);
  dense_weight_sums(stage, gradients, own.images, count, int(images), own.sums + stage.weight_sum);
  if (to) connected_input_gradient(plan, stage, g, plan.gradient, count, call.weight(n), to);
}

inline void backward_group(const Call &call, int64_t block, int64_t count, const float *space,
                           const Space &own, float *grad_x) {
  const Plan &plan = call.plan;
  float *g = own.gradient[0], *next = own.gradient[1];
  for (int64_t n = plan.count - 1; n >= 0; --n) {
    const Stage &stage = plan.stages[n];
    float *const to = n > 0 || grad_x ? next : nullptr;
    for (int64_t b = 0; b < count; ++b) {
      const float *const at = space + b * plan.block;
      float *const here = g + b * plan.gradient;
      float *const there = to ? to + b * plan.gradient : nullptr;
      if (!stage.pooled || stage.max_pooled)
        apply_slopes(stage, output_map(plan, n, const_cast<float *>(at)),
                     stage.slopes >= 0 ? at + stage.slopes : nullptr, here);
      if (stage.connected()) continue;
      load_images(call, n, block + b, at, own, own.images);
      if (stage.by_winners)
        backward_winners(call, n, at, here, own, there);
      else
        backward_dense(call, n, block + b, at, here, own, there);
    }
    if (stage.connected()) backward_connected(call, n, block, count, space, g, own, to);
    float *const done = g;
    g = next;
    next = done;
  }
  const int64_t size = plan.stages[0].in_size();
  for (int64_t b = 0; grad_x && b < count; ++b)
    to_images(g + b * plan.gradient, plan.table(plan.identity), size,
              grad_x + (block + b) * IMAGES * size, size, call.images(block + b));
}

}  // namespace convscope
