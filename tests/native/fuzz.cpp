// Random chains of stages against plain loops in double precision, in buffers of exactly
// the size that was asked for, so that a sanitizer sees every step beyond.
//
// Usage: fuzz [chains] [seed]. Exit code 1 and one line at the first disagreement.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <random>
#include <vector>

#include "convscope.h"

namespace {

using Numbers = std::vector<float>;
using Doubles = std::vector<double>;

std::mt19937 generator;

int64_t between(int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(generator);
}

Numbers normal(int64_t count, double size) {
  std::normal_distribution<double> draw(0, size);
  Numbers numbers(static_cast<size_t>(count));
  for (float &number : numbers) number = float(draw(generator));
  return numbers;
}

struct Size {
  int64_t height, width;
  int64_t area() const { return height * width; }
};

Size after_convolution(const convscope_stage &s) {
  return {(s.in_height + s.top + s.bottom - s.kernel_height) / s.stride_height + 1,
          (s.in_width + s.left + s.right - s.kernel_width) / s.stride_width + 1};
}

Size after_pooling(const convscope_stage &s) {
  const Size size = after_convolution(s);
  if (!s.pooling) return size;
  return {(size.height - s.pool_height) / s.pool_stride_height + 1,
          (size.width - s.pool_width) / s.pool_stride_width + 1};
}

int64_t taps(const convscope_stage &s) {
  return s.in_channels * s.kernel_height * s.kernel_width;
}

convscope_stage draw_stage(int64_t channels, Size in) {
  convscope_stage s{};
  s.in_channels = channels, s.in_height = in.height, s.in_width = in.width;
  s.out_channels = between(0, 3) ? between(1, 9) : 16;
  const bool whole = between(0, 3) == 0;
  s.kernel_height = whole ? in.height : between(1, in.height < 5 ? in.height : 5);
  s.kernel_width = whole ? in.width : between(1, in.width < 5 ? in.width : 5);
  s.stride_height = between(0, 2) ? 1 : between(1, 2);
  s.stride_width = between(0, 2) ? 1 : between(1, 3);
  if (!whole && between(0, 1))
    for (int64_t *border : {&s.top, &s.bottom, &s.left, &s.right}) *border = between(0, 2);
  s.has_bias = between(0, 1);
  s.activation = between(CONVSCOPE_NONE, CONVSCOPE_SIGMOID);
  const Size size = after_convolution(s);
  s.pooling = between(CONVSCOPE_NONE, CONVSCOPE_AVERAGE);
  s.pool_height = between(1, size.height < 3 ? size.height : 3);
  s.pool_width = between(1, size.width < 3 ? size.width : 3);
  s.pool_stride_height = between(1, 3), s.pool_stride_width = between(1, 3);
  if (between(0, 1) && size.height > 1 && size.width > 1) {  // the usual one
    s.pooling = CONVSCOPE_MAX;
    s.pool_height = s.pool_width = s.pool_stride_height = s.pool_stride_width = 2;
  }
  return s;
}

double activate(int64_t kind, double z) {
  switch (kind) {
    case CONVSCOPE_RELU: return z > 0 ? z : 0;
    case CONVSCOPE_TANH: return tanh(z);
    case CONVSCOPE_ABS: return fabs(z);
    case CONVSCOPE_GELU: return z * 0.5 * erfc(-z / sqrt(2.0));
    case CONVSCOPE_SIGMOID: return 1 / (1 + exp(-z));
    default: return z;
  }
}

double slope(int64_t kind, double z) {
  const double y = activate(kind, z);
  switch (kind) {
    case CONVSCOPE_RELU: return z > 0;
    case CONVSCOPE_TANH: return 1 - y * y;
    case CONVSCOPE_ABS: return z > 0 ? 1 : z < 0 ? -1 : 0;
    case CONVSCOPE_GELU:
      return 0.5 * erfc(-z / sqrt(2.0)) + z * exp(-z * z / 2) / sqrt(2 * acos(-1.0));
    case CONVSCOPE_SIGMOID: return y * (1 - y);
    default: return 1;
  }
}

// One stage by the book: forward, and backward where `gradient` is given.
struct Book {
  const convscope_stage &s;
  int64_t batch;
  const Doubles &x;
  const Numbers &weight, &bias;
  Doubles z{}, out{};

  // Calls body(place of z, place of x or -1, place of the weight) for every product.
  template <class Body>
  void products(const Body &body) const {
    const Size size = after_convolution(s);
    for (int64_t n = 0; n < batch; ++n)
      for (int64_t o = 0; o < s.out_channels; ++o)
        for (int64_t y = 0; y < size.height; ++y)
          for (int64_t col = 0; col < size.width; ++col)
            for (int64_t t = 0; t < taps(s); ++t) {
              const int64_t j = t % s.kernel_width, i = t / s.kernel_width % s.kernel_height;
              const int64_t c = t / (s.kernel_width * s.kernel_height);
              const int64_t row = y * s.stride_height + i - s.top;
              const int64_t column = col * s.stride_width + j - s.left;
              if (row < 0 || row >= s.in_height || column < 0 || column >= s.in_width) continue;
              body(((n * s.out_channels + o) * size.height + y) * size.width + col,
                   ((n * s.in_channels + c) * s.in_height + row) * s.in_width + column,
                   o * taps(s) + t);
            }
  }

  // Calls body(place of out, places of z in its window) for every window.
  template <class Body>
  void windows(const Body &body) const {
    const Size size = after_convolution(s), pooled = after_pooling(s);
    for (int64_t map = 0; map < batch * s.out_channels; ++map)
      for (int64_t y = 0; y < pooled.height; ++y)
        for (int64_t col = 0; col < pooled.width; ++col) {
          std::vector<size_t> places;
          for (int64_t i = 0; i < (s.pooling ? s.pool_height : 1); ++i)
            for (int64_t j = 0; j < (s.pooling ? s.pool_width : 1); ++j) {
              const int64_t row = s.pooling ? y * s.pool_stride_height + i : y;
              const int64_t column = s.pooling ? col * s.pool_stride_width + j : col;
              places.push_back(size_t((map * size.height + row) * size.width + column));
            }
          body(size_t((map * pooled.height + y) * pooled.width + col), places);
        }
  }

  size_t winner(const std::vector<size_t> &places) const {
    size_t best = places[0];
    for (size_t place : places)
      if (activate(s.activation, z[place]) > activate(s.activation, z[best])) best = place;
    return best;
  }

  void forward() {
    const int64_t area = after_convolution(s).area();
    z.resize(size_t(batch * s.out_channels * area));
    for (size_t i = 0; i < z.size(); ++i)
      z[i] = s.has_bias ? bias[i / size_t(area) % size_t(s.out_channels)] : 0;
    products([&](int64_t to, int64_t from, int64_t w) {
      z[size_t(to)] += x[size_t(from)] * weight[size_t(w)];
    });
    out.assign(size_t(batch * s.out_channels * after_pooling(s).area()), 0);
    windows([&](size_t to, const std::vector<size_t> &places) {
      if (s.pooling == CONVSCOPE_AVERAGE)
        for (size_t place : places)
          out[to] += activate(s.activation, z[place]) / double(places.size());
      else
        out[to] = activate(s.activation, z[winner(places)]);
    });
  }

  void backward(const Doubles &gradient, Doubles &dx, Doubles &dweight, Doubles &dbias) const {
    Doubles dz(z.size(), 0);
    windows([&](size_t from, const std::vector<size_t> &places) {
      if (s.pooling == CONVSCOPE_AVERAGE)
        for (size_t place : places) dz[place] += gradient[from] / double(places.size());
      else
        dz[winner(places)] += gradient[from];
    });
    for (size_t i = 0; i < z.size(); ++i) dz[i] *= slope(s.activation, z[i]);
    dx.assign(x.size(), 0);
    dweight.assign(weight.size(), 0);
    dbias.assign(size_t(s.out_channels), 0);
    products([&](int64_t to, int64_t from, int64_t w) {
      dx[size_t(from)] += dz[size_t(to)] * weight[size_t(w)];
      dweight[size_t(w)] += dz[size_t(to)] * x[size_t(from)];
    });
    const int64_t area = after_convolution(s).area();
    for (size_t i = 0; i < z.size(); ++i) dbias[i / size_t(area) % size_t(s.out_channels)] += dz[i];
  }
};

// Rounding of some thousand terms, and kinks on whose two sides both may stand.
bool close(const Numbers &actual, const Doubles &expected, const char *what) {
  double size = 1;
  for (double e : expected) size = fmax(size, fabs(e));
  size_t off = 0;
  for (size_t i = 0; i < expected.size(); ++i)
    if (!(fabs(actual[i] - expected[i]) <= 1e-4 * size)) ++off;
  if (off) printf("%s: %zu of %zu numbers are off\n", what, off, expected.size());
  return !off;
}

bool agrees(int64_t batch, int threads) {
  std::vector<convscope_stage> stages;
  Size size{between(1, 9), between(1, 9)};
  int64_t channels = between(1, 4);
  for (int64_t n = between(1, 3); n > 0; --n) {
    stages.push_back(draw_stage(channels, size));
    channels = stages.back().out_channels;
    size = after_pooling(stages.back());
  }
  const int64_t count = int64_t(stages.size());
  std::vector<char> plan(size_t(convscope_plan(stages.data(), count, nullptr, 0)));
  if (convscope_plan(stages.data(), count, plan.data(), int64_t(plan.size()))) return false;

  const convscope_stage &first = stages[0];
  const Numbers x = normal(batch * first.in_channels * first.in_height * first.in_width, 1);
  std::vector<Numbers> parameters;
  std::vector<const float *> at;
  for (const convscope_stage &s : stages) {
    parameters.push_back(normal(s.out_channels * taps(s), 1 / sqrt(double(taps(s)))));
    parameters.push_back(s.has_bias ? normal(s.out_channels, 0.3) : Numbers());
  }
  for (const Numbers &p : parameters) at.push_back(p.empty() ? nullptr : p.data());

  std::vector<Doubles> inputs{Doubles(x.begin(), x.end())};
  std::vector<Book> books;
  books.reserve(stages.size());
  inputs.reserve(stages.size() + 1);
  for (size_t n = 0; n < stages.size(); ++n) {
    books.push_back({stages[n], batch, inputs[n], parameters[2 * n], parameters[2 * n + 1]});
    books[n].forward();
    inputs.push_back(books[n].out);
  }

  Numbers out(inputs.back().size(), NAN);
  Numbers saved(size_t(convscope_saved_size(plan.data(), batch)), NAN);
  Numbers scratch(size_t(convscope_scratch_size(plan.data(), batch, threads)), NAN);
  convscope_forward(plan.data(), batch, threads, x.data(), at.data(), out.data(), saved.data(),
                    scratch.data());
  if (!close(out, inputs.back(), "output")) return false;

  const Numbers gradient = normal(int64_t(out.size()), 1);
  Numbers dx(x.size(), NAN);
  std::vector<Numbers> gradients;
  std::vector<float *> to;
  for (const Numbers &p : parameters) gradients.emplace_back(p.size(), NAN);
  for (Numbers &g : gradients) to.push_back(g.empty() ? nullptr : g.data());
  scratch.assign(scratch.size(), NAN);
  convscope_backward(plan.data(), batch, threads, x.data(), at.data(), saved.data(),
                     gradient.data(), dx.data(), to.data(), scratch.data());
  Doubles expected(gradient.begin(), gradient.end()), below, dweight, dbias;
  for (size_t n = stages.size(); n-- > 0;) {
    books[n].backward(expected, below, dweight, dbias);
    if (!close(gradients[2 * n], dweight, "gradient of a weight")) return false;
    if (stages[n].has_bias && !close(gradients[2 * n + 1], dbias, "gradient of a bias"))
      return false;
    expected = below;
  }
  if (!close(dx, expected, "gradient of x")) return false;
  if (size.area() != 1) return true;

  // The whole step touches the same buffers; its numbers are compared elsewhere.
  std::vector<int64_t> targets(static_cast<size_t>(batch), channels - 1);
  float loss = NAN;
  if (convscope_step(plan.data(), batch, threads, x.data(), at.data(), targets.data(), nullptr,
                     0.1f, out.data(), &loss, to.data(), scratch.data()))
    return false;
  return loss == loss;
}

}  // namespace

int main(int count, char **arguments) {
  if (!convscope_runs(INSTRUCTION_SET)) {
    printf("%s: not on this machine\n", INSTRUCTION_SET);
    return 0;
  }
  const int chains = count > 1 ? atoi(arguments[1]) : 200;
  const unsigned seed = count > 2 ? unsigned(atoi(arguments[2])) : 0;
  const int64_t batches[] = {1, 2, 15, 16, 17, 33, 70};
  for (int chain = 0; chain < chains; ++chain) {
    generator.seed(seed + unsigned(chain));
    if (!agrees(batches[chain % 7], 1 + chain % 3)) {
      printf("%s: chain of seed %u disagrees\n", INSTRUCTION_SET, seed + unsigned(chain));
      return 1;
    }
  }
  printf("%s: %d chains agree\n", INSTRUCTION_SET, chains);
  return 0;
}
