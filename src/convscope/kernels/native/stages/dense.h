// Backward without max pooling, and through fully connected stages: dense products.
#pragma once
#include "stages/forward.h"

namespace convscope {

// Gradients by place: at[channel * step_channel + ...], 16 images side by side.
struct Gradients {
  const float *at;
  int64_t channel, row, column, block;
};

// sums[o][v] += sum over blocks, images, y, x of g[o][y][x][n] * patch(n, y, x)[v], for
// O output channels and VECTORS vectors of one row of the patch.
template <int O, int VECTORS>
inline void add_products(const Stage &stage, const Gradients &g, const float *images,
                         int64_t blocks, int count, float *sums) {
  const convscope_stage &s = stage.given;
  const int64_t right = s.stride_width * s.in_channels;
  const int64_t down = s.stride_height * stage.padded_width * s.in_channels;
  Lanes total[O][VECTORS];
  for (int o = 0; o < O; ++o)
    for (int v = 0; v < VECTORS; ++v) total[o][v] = load(sums + o * stage.patch + v * LANES);
  for (int64_t n = 0; n < blocks * IMAGES && n < count; ++n) {
    const float *image = images + n * stage.image;
    const float *lane = g.at + n / IMAGES * g.block + n % IMAGES;
    for (int64_t y = 0; y < stage.height; ++y)
      for (int64_t x = 0; x < stage.width; ++x) {
        const float *patch = image + y * down + x * right;
        const float *gradient = lane + y * g.row + x * g.column;
        Lanes inputs[VECTORS];
        for (int v = 0; v < VECTORS; ++v) inputs[v] = load(patch + v * LANES);
        for (int o = 0; o < O; ++o) {
          const Lanes w = all(gradient[o * g.channel]);
          for (int v = 0; v < VECTORS; ++v) total[o][v] += w * inputs[v];
        }
      }
  }
  for (int o = 0; o < O; ++o)
    for (int v = 0; v < VECTORS; ++v) store(sums + o * stage.patch + v * LANES, total[o][v]);
}

template <int VECTORS>
inline void add_products_of_channels(const Stage &stage, const Gradients &gradients,
                                     const float *images, int64_t blocks, int count, float *sums) {
  constexpr int WIDEST = LANES == 16 ? 6 : 2;
  const int64_t channels = stage.given.out_channels;
  for (int64_t o = 0; o < channels; o += WIDEST) {
    Gradients g = gradients;
    g.at += o * g.channel;
    float *to = sums + o * stage.patch;
    const auto add = [&](auto width) {
      if constexpr (width() <= WIDEST)
        add_products<width(), VECTORS>(stage, g, images, blocks, count, to);
    };
    switch (least(WIDEST, channels - o)) {
      case 6: add(Count<6>()); break;
      case 5: add(Count<5>()); break;
      case 4: add(Count<4>()); break;
      case 3: add(Count<3>()); break;
      case 2: add(Count<2>()); break;
      default: add(Count<1>()); break;
    }
  }
}

// The gradient of the weight, for `count` images in as many blocks.
inline void dense_weight_sums(const Stage &stage, const Gradients &g, const float *images,
                              int64_t blocks, int count, float *sums) {
  const convscope_stage &s = stage.given;
  const int64_t vectors = ceil_div(s.kernel_width * s.in_channels, LANES);
  for (int64_t i = 0; i < s.kernel_height; ++i)
    for (int64_t v = 0; v < vectors; v += 4) {
      const float *from = images + i * stage.padded_width * s.in_channels + v * LANES;
      float *to = sums + i * stage.patch_row + v * LANES;
      switch (least(4, vectors - v)) {
        case 4: add_products_of_channels<4>(stage, g, from, blocks, count, to); break;
        case 3: add_products_of_channels<3>(stage, g, from, blocks, count, to); break;
        case 2: add_products_of_channels<2>(stage, g, from, blocks, count, to); break;
        default: add_products_of_channels<1>(stage, g, from, blocks, count, to); break;
      }
    }
}

inline void dense_bias_sums(const Stage &stage, const Gradients &g, int64_t blocks,
                            float *bias_sum) {
  for (int64_t o = 0; o < stage.given.out_channels; ++o)
    for (int lane = 0; lane < IMAGES; lane += LANES) {
      Lanes total = load(bias_sum + o * IMAGES + lane);
      for (int64_t block = 0; block < blocks; ++block)
        for (int64_t y = 0; y < stage.height; ++y)
          for (int64_t x = 0; x < stage.width; ++x)
            total += load(g.at + block * g.block + o * g.channel + y * g.row + x * g.column + lane);
      store(bias_sum + o * IMAGES + lane, total);
    }
}

// Calls body(a, b, rows, columns) for every class of input places that has taps.
template <class Body>
inline void for_classes(const convscope_stage &s, const Body &body) {
  for (int64_t a = 0; a < s.stride_height; ++a)
    for (int64_t b = 0; b < s.stride_width; ++b)
      body(a, b, class_taps(s.kernel_height, a, s.stride_height),
           class_taps(s.kernel_width, b, s.stride_width));
}

// turned[c][o][i][j] of each class in turn: the weights that an input place meets.
inline void turn_for_dense(const Stage &stage, const float *weight, float *turned) {
  const convscope_stage &s = stage.given;
  for_classes(s, [&](int64_t a, int64_t b, int64_t rows, int64_t columns) {
    for (int64_t c = 0; c < s.in_channels; ++c)
      for (int64_t o = 0; o < s.out_channels; ++o)
        for (int64_t i = 0; i < rows; ++i)
          for (int64_t j = 0; j < columns; ++j)
            *turned++ =
                weight[((o * s.in_channels + c) * s.kernel_height + a + i * s.stride_height) *
                           s.kernel_width +
                       b + j * s.stride_width];
  });
}

// The gradient of the input, unpadded, from gradients in a map with border. With stride s
// the input places fall into s * s classes, each of which meets its own part of the kernel:
//   grad_x[c, Y*s + a, X*s + b] = sum_{o,i,j} g[o, Y - i, X - j] w[o, c, a + i*s, b + j*s]
inline void dense_input_gradient(const Plan &plan, const Stage &stage, const float *bordered,
                                 const float *turned, float *to) {
  const convscope_stage &s = stage.given;
  const Map map = plain_map(to, s.in_height, s.in_width);
  const int64_t row_step = stage.gradient_width() * IMAGES;
  const int32_t *taps = plan.table(stage.classes);
  for_classes(s, [&](int64_t a, int64_t b, int64_t rows, int64_t columns) {
    const int64_t y_first = ceil_div(most(s.top - a, 0), s.stride_height);
    const int64_t x_first = ceil_div(most(s.left - b, 0), s.stride_width);
    const int64_t y_end = ceil_div(s.top + s.in_height - a, s.stride_height);
    const int64_t x_end = ceil_div(s.left + s.in_width - b, s.stride_width);
    Sweep sweep{};
    sweep.in = bordered + (stage.reach_height() + y_first) * row_step +
               (stage.reach_width() + x_first) * IMAGES;
    sweep.taps = taps;
    sweep.tap_count = s.out_channels * rows * columns;
    sweep.weight = turned;
    sweep.weight_out = sweep.tap_count;
    sweep.weight_tap = 1;
    sweep.rows = most(y_end - y_first, 0);
    sweep.row_step = row_step;
    if (sweep.rows && x_end > x_first)
      sweep_places(sweep, x_end - x_first, IMAGES, s.in_channels,
                   [&](Lanes g, int64_t c, int64_t y, int64_t x, int lane) {
                     store(map.place(c, (y + y_first) * s.stride_height + a - s.top,
                                     (x + x_first) * s.stride_width + b - s.left) +
                               lane,
                           g);
                   });
    taps += sweep.tap_count;
    turned += s.in_channels * sweep.tap_count;
  });
}

// The gradient of a fully connected stage's input: grad_x[k] = sum_o g[o] w[o][k].
inline void connected_input_gradient(const Plan &plan, const Stage &stage, const float *g,
                                     int64_t step, int64_t blocks, const float *weight, float *to) {
  const int64_t inputs = stage.given.in_channels;
  Sweep sweep{};
  sweep.in = g;
  sweep.taps = plan.table(stage.classes);
  sweep.tap_count = stage.given.out_channels;
  sweep.weight = weight;
  sweep.weight_out = 1;
  sweep.weight_tap = inputs;
  sweep.rows = 1;
  sweep_places(sweep, blocks, step, inputs,
               [&](Lanes value, int64_t k, int64_t, int64_t block, int lane) {
                 store(to + block * step + k * IMAGES + lane, value);
               });
}

}  // namespace convscope
