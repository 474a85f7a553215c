// A chain of stages as the kernels see it: sizes, and where in the buffers everything lies.
//
// Inside, images stand in blocks of 16, one per lane: [channels][rows][columns][16]. A
// "map" of that kind is counted in floats, and all offsets are multiples of 16.
//
// Letters, here and in the other files of this folder:
//   n     image of the batch; in plan.cpp, stage of the chain
//   c, o  channel of the input, of the output
//   y, x  row and column of a map
//   i, j  row and column of the kernel
//   t     tap: one (c, i, j), or (o, i, j) on the way back
//   q     entry of a table
//   a, b  remainder of a row and a column by the stride: a class of taps that meet
//   s     the stage as it was given
//   z     what the convolution gives; y = activation(z) where there are no rows
#pragma once
#include "convscope.h"
#include "stages/activation.h"
#include "stages/vector.h"

namespace convscope {

constexpr int64_t MOST_STAGES = 64;
constexpr int64_t GROUP = 4;  // blocks that a fully connected stage takes at once

inline int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}
inline int64_t most(int64_t a, int64_t b) {
  return a > b ? a : b;
}
inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
inline int64_t round_up(int64_t count) {
  return ceil_div(count, 16) * 16;
}

struct Stage {
  convscope_stage given;                // a fully connected stage as 1x1 on a map of 1x1
  int64_t padded_height, padded_width;  // of the input
  int64_t height, width;                // of the convolution
  int64_t out_height, out_width;        // of the pooling
  int64_t patch_row, patch;             // of a kernel's row and kernel, [i][j][c], padded
  int64_t image;                        // floats of one input image as [y][x][c]
  int64_t pooled, fused, max_pooled;    // windows; apart from each other; of maxima
  // Tables of offsets, in the plan's buffer.
  int64_t taps;               // [c][i][j] -> the input under a tap, in the block
  int64_t by_pixel;           // [y][x][c] -> the padded input map
  int64_t by_channel;         // [c][y][x], without border -> the padded input map
  int64_t unpadded_by_pixel;  // [y][x][c] -> the unpadded map, or the sink behind it
  int64_t by_place;           // [y][x][o] -> the pooled map
  int64_t classes;            // for the gradient to the input: see gradient_taps
  // In the space of one block.
  int64_t input, winners, slopes;
  // In a thread's scratch: gradients of weights and biases; weights for grad to input.
  int64_t weight_sum, bias_sum, turned;
  // Whether the gradient goes back by lists of winners, or densely.
  int64_t by_winners;
  int64_t by_patches;  // of those, the gradient of the input: see patches.h

  int64_t conv_area() const { return height * width; }
  int64_t out_area() const { return out_height * out_width; }
  int64_t in_area() const { return given.in_height * given.in_width; }
  int64_t tap_count() const { return given.in_channels * given.kernel_height * given.kernel_width; }
  int64_t weight_count() const { return given.out_channels * tap_count(); }
  int64_t out_size() const { return given.out_channels * out_area(); }
  int64_t padded_size() const { return given.in_channels * padded_height * padded_width; }
  int64_t in_size() const { return given.in_channels * in_area(); }
  // The map of gradients whose windows are the input: taps reach back from a place.
  int64_t reach_height() const { return (given.kernel_height - 1) / given.stride_height; }
  int64_t reach_width() const { return (given.kernel_width - 1) / given.stride_width; }
  int64_t gradient_height() const {
    return reach_height() + most(height, (padded_height - 1) / given.stride_height + 1);
  }
  int64_t gradient_width() const {
    return reach_width() + most(width, (padded_width - 1) / given.stride_width + 1);
  }
  int64_t list() const { return (out_width + 1) * IMAGES; }  // most winners of a row, and slack
  bool connected() const { return padded_height * padded_width == 1; }
  bool bordered() const { return padded_height * padded_width != given.in_height * given.in_width; }
};

struct Plan {
  int64_t count;
  int64_t output;       // of the last stage, in the space of one block
  int64_t block;        // floats of the space of one block
  int64_t identity;     // table: 0, 16, 32, ...
  int64_t tables;       // int32 numbers behind this struct
  int64_t sums;         // floats: gradients of all weights and biases of one thread
  int64_t turned;       // floats: all turned weights
  int64_t first_input;  // floats: the input map of stage 0, one block
  int64_t conv_map;     // floats: the largest unpooled map
  int64_t gradient;     // floats: the largest unpadded map, one block, with a sink
  int64_t bordered;     // floats: the largest gradient map with border
  int64_t images;       // floats: the largest block as images [y][x][c]
  int64_t spare;        // floats: for patches.h
  int64_t lists;        // floats: the winners of a row of windows, and their numbers
  Stage stages[MOST_STAGES];

  const int32_t *table(int64_t offset) const {
    return reinterpret_cast<const int32_t *>(this + 1) + offset;
  }
};

// The kernel's rows i = a, a + s, a + 2s, ... meet input rows y = a modulo s.
inline int64_t class_taps(int64_t kernel, int64_t first, int64_t stride) {
  return first < kernel ? ceil_div(kernel - first, stride) : 0;
}

}  // namespace convscope
