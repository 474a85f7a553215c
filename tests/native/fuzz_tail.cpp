// Batch norm and max pooling of random shapes against plain loops in double precision, in
// buffers of exactly the size that was asked for, so that a sanitizer sees every step beyond.
//
// Usage: fuzz_tail [cases] [seed]. Exit code 1 and one line at the first disagreement.
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

Numbers normal(int64_t count) {
  std::normal_distribution<float> draw(0, 1);
  Numbers numbers(static_cast<size_t>(count));
  for (float &number : numbers) number = draw(generator);
  return numbers;
}

bool is_far(double found, double expected, double allowed) {
  return !(fabs(found - expected) <= allowed * (1 + fabs(expected)));
}

double activate(double z, int kind) {
  if (kind == CONVSCOPE_RELU) return z > 0 ? z : 0;
  return kind == CONVSCOPE_GELU ? z * 0.5 * erfc(-z / sqrt(2.0)) : z;
}

double slope(double z, int kind) {
  if (kind == CONVSCOPE_RELU) return z > 0;
  if (kind == CONVSCOPE_GELU)
    return 0.5 * erfc(-z / sqrt(2.0)) + z * exp(-z * z / 2) / sqrt(2 * 3.14159265358979);
  return 1;
}

const char *norm_case() {
  const int64_t rows = between(2, 400), channels = between(1, 80), n = rows * channels;
  const int threads = int(between(1, 3));
  const Numbers x = normal(n), other = normal(n), gradient = normal(n);
  const Numbers weight = normal(channels), bias = normal(channels);
  Numbers mean(channels), variance(channels), y(n), dx(n), dother(n), dweight(channels),
      dbias(channels), scratch(convscope_norm_scratch(rows, channels));
  convscope_norm norm{};
  norm.rows = rows, norm.channels = channels, norm.epsilon = 0.1f, norm.training = 1;
  const int32_t activations[] = {CONVSCOPE_NONE, CONVSCOPE_RELU, CONVSCOPE_GELU};
  norm.activation = activations[between(0, 2)], norm.residual = int32_t(between(0, 2));
  convscope_norm_statistics(&norm, x.data(), mean.data(), variance.data(), scratch.data(), threads);
  norm.weight = weight.data(), norm.bias = bias.data();
  norm.mean = mean.data(), norm.variance = variance.data();
  convscope_norm_forward(&norm, x.data(), other.data(), y.data(), scratch.data(), threads);
  convscope_norm_backward(&norm, gradient.data(), x.data(), other.data(), dx.data(), dother.data(),
                          dweight.data(), dbias.data(), scratch.data(), threads);
  for (int64_t c = 0; c < channels; ++c) {
    double m = 0, v = 0, sum = 0, product = 0;
    for (int64_t i = c; i < n; i += channels) m += double(x[i]) / double(rows);
    for (int64_t i = c; i < n; i += channels) v += (x[i] - m) * (x[i] - m) / double(rows);
    if (is_far(mean[c], m, 1e-5) || is_far(variance[c], v, 1e-5)) return "statistics";
    const double scale = 1 / sqrt(v + double(norm.epsilon));
    Doubles g(static_cast<size_t>(rows));
    bool at_the_bend = false;
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t i = row * channels + c;
      const double unit = (x[i] - m) * scale;
      const double z = unit * weight[c] + bias[c] + (norm.residual == 1 ? other[i] : 0);
      at_the_bend |= norm.activation == 1 && fabs(z) < 1e-4;
      const double last = norm.residual == 2 ? other[i] : 0;
      if (is_far(y[i], activate(z, norm.activation) + last, 1e-5)) return "output";
      g[row] = gradient[i] * slope(z, norm.activation);
      sum += g[row], product += g[row] * unit;
    }
    if (at_the_bend) continue;  // one rounding decides whether a gradient goes through
    const double size = 1e-5 * (1 + double(rows));
    if (fabs(dbias[c] - sum) > size || fabs(dweight[c] - product) > size) return "weights";
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t i = row * channels + c;
      const double unit = (x[i] - m) * scale;
      const double part = (sum + unit * product) / double(rows);
      if (is_far(dx[i], scale * weight[c] * (g[row] - part), 1e-4)) return "gradient";
      if (norm.residual == 1 && is_far(dother[i], g[row], 1e-4)) return "residual";
    }
  }
  return nullptr;
}

const char *pool_case() {
  convscope_maxpool p{};
  p.images = between(1, 3), p.channels = between(1, 40);
  p.height = between(1, 12), p.width = between(1, 12);
  p.kernel_height = between(1, 4), p.kernel_width = between(1, 4);
  p.stride_height = between(1, 3), p.stride_width = between(1, 3);
  p.padding_height = between(0, p.kernel_height / 2);
  p.padding_width = between(0, p.kernel_width / 2);
  const int64_t high = p.height + 2 * p.padding_height - p.kernel_height;
  const int64_t wide = p.width + 2 * p.padding_width - p.kernel_width;
  if (high < 0 || wide < 0) return nullptr;
  p.out_height = high / p.stride_height + 1, p.out_width = wide / p.stride_width + 1;
  const int threads = int(between(1, 3));
  const int64_t in = p.images * p.height * p.width * p.channels;
  const int64_t out = p.images * p.out_height * p.out_width * p.channels;
  Numbers x = normal(in), y(out), dx(in, NAN);
  for (float &number : x) number = roundf(number);  // ties
  const Numbers gradient = normal(out);
  std::vector<uint8_t> winners(static_cast<size_t>(out));
  Doubles expected(static_cast<size_t>(in));
  if (convscope_maxpool_forward(&p, x.data(), y.data(), winners.data(), threads)) return "refused";
  convscope_maxpool_backward(&p, gradient.data(), winners.data(), dx.data(), threads);
  for (int64_t o = 0; o < out; ++o) {
    const int64_t c = o % p.channels, place = o / p.channels;
    const int64_t ox = place % p.out_width, oy = place / p.out_width % p.out_height;
    const int64_t image = place / p.out_width / p.out_height;
    int64_t best = -1;
    for (int64_t i = 0; i < p.kernel_height; ++i)
      for (int64_t j = 0; j < p.kernel_width; ++j) {
        const int64_t row = oy * p.stride_height - p.padding_height + i;
        const int64_t column = ox * p.stride_width - p.padding_width + j;
        if (row < 0 || row >= p.height || column < 0 || column >= p.width) continue;
        const int64_t at = ((image * p.height + row) * p.width + column) * p.channels + c;
        if (best < 0 || x[at] > x[best]) best = at;
      }
    if (y[o] != x[best]) return "output";
    expected[best] += gradient[o];
  }
  for (int64_t i = 0; i < in; ++i)
    if (is_far(dx[i], expected[i], 1e-5)) return "gradient";
  return nullptr;
}

}  // namespace

int main(int count, char **words) {
  if (!convscope_runs(INSTRUCTION_SET)) {
    printf("%s: not on this machine\n", INSTRUCTION_SET);
    return 0;
  }
  const int64_t cases = count > 1 ? atoll(words[1]) : 300;
  const unsigned seed = count > 2 ? unsigned(atoll(words[2])) : 0;
  for (int64_t i = 0; i < cases; ++i) {
    generator.seed(seed + unsigned(i));
    const char *const what = i % 2 ? norm_case() : pool_case();
    if (what) {
      printf("%s: case %lld, seed %u: %s of %s is wrong\n", INSTRUCTION_SET, (long long)i, seed,
             what, i % 2 ? "norm" : "maxpool");
      return 1;
    }
  }
  printf("%s: %lld cases agree\n", INSTRUCTION_SET, (long long)cases);
  return 0;
}
