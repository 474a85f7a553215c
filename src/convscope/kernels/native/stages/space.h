// A call's work shared out to threads, and each thread's part of the scratch.
#pragma once
#include "stages/plan.h"

namespace convscope {

struct Call {
  const Plan &plan;
  int64_t batch;
  int threads;            // as many as have a block to work on
  int64_t blocks, group;  // in all, and at once in a thread
  const float *x;
  const float *const *parameters;

  Call(const Plan &plan_, int64_t batch_, int threads_, const float *x_,
       const float *const *parameters_)
      : plan(plan_), batch(batch_), x(x_), parameters(parameters_) {
    blocks = ceil_div(batch, IMAGES);
    threads = int(most(1, least(threads_, blocks)));
    group = most(1, least(GROUP, ceil_div(blocks, threads)));
  }

  int64_t first_block(int thread) const { return blocks * thread / threads; }
  int images(int64_t block) const { return int(least(IMAGES, batch - block * IMAGES)); }
  const float *weight(int64_t stage) const { return parameters[2 * stage]; }
  const float *bias(int64_t stage) const { return parameters[2 * stage + 1]; }

  // Calls body(first block, number of blocks) for every group of a thread.
  template <class Body>
  void for_groups(int thread, const Body &body) const {
    const int64_t end = first_block(thread + 1);
    for (int64_t block = first_block(thread); block < end; block += group)
      body(block, least(group, end - block));
  }
};

// One thread's scratch, cut up. With scratch = NULL it only measures.
struct Space {
  float *input;        // the map of the first stage's input
  float *map;          // an unpooled map
  float *gradient[2];  // maps of gradients, of all blocks of a group
  float *bordered;     // a map of gradients with border
  float *images;       // [n][y][x][c]
  float *image_gradients;
  float *turned;  // weights for the gradient of the input
  float *sums;    // gradients of weights and biases
  float *list;    // of winners: gradients, places, and how many
  float *spare;   // for patches.h
  float *loss;    // a double
  float *blocks;  // what a forward pass keeps, where the caller does not
  int64_t size = 0;

  Space(const Call &call, float *scratch) {
    const Plan &plan = call.plan;
    const bool connected = plan.stages[0].connected();
    const auto take = [&](int64_t count) {
      float *const part = scratch ? scratch + size : nullptr;
      size += round_up(count);
      return part;
    };
    input = take(plan.first_input * (connected ? call.group : 1));
    map = take(plan.conv_map);
    gradient[0] = take(plan.gradient * call.group);
    gradient[1] = take(plan.gradient * call.group);
    bordered = take(plan.bordered);
    images = take(plan.images);
    image_gradients = take(plan.images);
    turned = take(plan.turned);
    sums = take(plan.sums);
    list = take(plan.lists);
    spare = take(plan.spare);
    loss = take(16);
    blocks = take(plan.block * call.group);
  }

  static Space of(const Call &call, float *scratch, int thread) {
    return Space(call, scratch + thread * Space(call, nullptr).size);
  }
};

}  // namespace convscope
