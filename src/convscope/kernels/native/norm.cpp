// Batch norm with what follows it, over rows of channels (channels-last images).
//
// Rows are read 16 numbers at a time whatever the channel count: L = lcm(C, 64)
// numbers are one period, in which lane and channel fit together; the few rows after
// the last whole period are taken one by one. Work is cut into chunks by size alone,
// so that the sums are the same to the last bit for any number of threads.
#include <math.h>
#include <numeric>
#include <type_traits>

#include "convscope.h"
#include "slopes.h"
#include "threads.h"

namespace {

constexpr int LANES = 16;
constexpr int GROUP = 4;                    // vectors whose sums stay in registers
constexpr int64_t BLOCK = 8192;             // numbers that stay in the first cache
constexpr int64_t MOST_CHUNKS = 64;         // most parts that threads share
constexpr int64_t WORTH_A_CHUNK = 1 << 14;  // numbers that are worth a part

struct Plan {
  int64_t rows, channels, period, periods, chunks, block;  // block: in periods

  Plan(int64_t rows_, int64_t channels_) : rows(rows_), channels(channels_) {
    period = std::lcm(channels, int64_t(GROUP * LANES));
    if (period > BLOCK) period = std::lcm(channels, int64_t(LANES));
    periods = rows * channels / period;
    const int64_t wanted = rows * channels / WORTH_A_CHUNK;
    chunks = wanted < 1 ? 1 : wanted > MOST_CHUNKS ? MOST_CHUNKS : wanted;
    if (chunks > periods) chunks = periods < 1 ? 1 : periods;
    block = BLOCK / period < 1 ? 1 : BLOCK / period;
  }
  int64_t begin(int64_t chunk) const { return periods * chunk / chunks; }
  int64_t rest() const { return periods * period; }  // first number of the last rows
  int64_t size() const { return rows * channels; }
};

// Mean and squared deviations of each lane of `count` periods from `x`.
template <class T>
void block_statistics(const T *x, int64_t period, int64_t count, float before, float *mean,
                      float *squares) {
  typedef Lanes<LANES>::F F;
  const float n = float(count), all = before + n;
  for (int64_t first = 0; first < period; first += GROUP * LANES) {
    const int64_t left = (period - first) / LANES;
    const int vectors = left < GROUP ? int(left) : GROUP;
    F sum[GROUP] = {}, square[GROUP] = {}, rest[GROUP] = {};
    const T *row = x + first;
    const auto walk = [&](auto each) {
      for (int64_t i = 0; i < count; ++i)
        for (int v = 0; v < GROUP; ++v) each(v, load<LANES>(row + i * period + v * LANES));
    };
    const auto walk_some = [&](auto each) {
      for (int64_t i = 0; i < count; ++i)
        for (int v = 0; v < vectors; ++v) each(v, load<LANES>(row + i * period + v * LANES));
    };
    const auto add = [&](int v, F value) { sum[v] += value; };
    const auto add_square = [&](int v, F value) {
      const F d = value - sum[v];
      square[v] += d * d;
      rest[v] += d;  // what rounding has taken from the mean
    };
    if (vectors == GROUP)
      walk(add);
    else
      walk_some(add);
    for (int v = 0; v < vectors; ++v) sum[v] *= 1.f / n;
    if (vectors == GROUP)
      walk(add_square);
    else
      walk_some(add_square);
    for (int v = 0; v < vectors; ++v) {  // joined as Chan, Golub & LeVeque do
      float *const m = mean + first + v * LANES;
      float *const s = squares + first + v * LANES;
      const F own = sum[v] + rest[v] / n, spread = square[v] - rest[v] * rest[v] / n;
      if (before == 0) {
        store<LANES>(m, own);
        store<LANES>(s, spread);
        continue;
      }
      const F old = load<LANES>(m), apart = own - old;
      store<LANES>(m, old + apart * (n / all));
      store<LANES>(s, load<LANES>(s) + spread + apart * apart * (before * n / all));
    }
  }
}

template <class T>
void statistics(const T *x, const Plan &plan, float *mean, float *variance, float *scratch,
                int threads) {
  const int64_t period = plan.period, channels = plan.channels;
  convscope::in_parts(plan.chunks, threads, [&](int64_t chunk) {
    float *const means = scratch + 2 * chunk * period;
    const int64_t begin = plan.begin(chunk), end = plan.begin(chunk + 1);
    for (int64_t p = begin; p < end; p += plan.block) {
      const int64_t count = p + plan.block < end ? plan.block : end - p;
      block_statistics(x + p * period, period, count, float(p - begin), means, means + period);
    }
  });
  for (int64_t c = 0; c < channels; ++c) {
    double total = 0, squares = 0;
    const auto each_part = [&](auto use) {  // use(count, mean, squared deviations)
      for (int64_t chunk = 0; chunk < plan.chunks && plan.periods; ++chunk) {
        const double n = double(plan.begin(chunk + 1) - plan.begin(chunk));
        const float *const means = scratch + 2 * chunk * period;
        for (int64_t i = c; i < period; i += channels) use(n, means[i], means[period + i]);
      }
      for (int64_t i = plan.rest() + c; i < plan.size(); i += channels)
        use(1.0, load<1>(x + i), 0.f);
    };
    each_part([&](double n, float m, float) { total += n * m; });
    const double center = total / double(plan.rows);
    each_part([&](double n, float m, float s) { squares += s + n * (m - center) * (m - center); });
    mean[c] = float(center);
    variance[c] = float(squares / double(plan.rows));
  }
}

// What each lane of a period is computed with: z = (x - center) * scale + shift.
struct Affine {
  float *center, *scale, *shift;

  Affine(const convscope_norm &norm, const Plan &plan, float *scratch)
      : center(scratch), scale(scratch + plan.period), shift(scale + plan.period) {
    for (int64_t i = 0; i < plan.period; ++i) {
      const int64_t c = i % plan.channels;
      const float weight = norm.weight ? norm.weight[c] : 1.f;
      center[i] = norm.mean ? norm.mean[c] : 0.f;
      scale[i] = norm.variance ? weight / sqrtf(norm.variance[c] + norm.epsilon) : weight;
      shift[i] = norm.bias ? norm.bias[c] : 0.f;
    }
  }
};

enum Residual { ABSENT = 0, BEFORE = 1, AFTER = 2 };  // the activation

// Calls body.run<L>(position, lane) for all numbers, by vectors and then one by one.
template <class Body>
void everywhere(const Plan &plan, int threads, const Body &body) {
  convscope::in_parts(plan.chunks, threads, [&](int64_t chunk) {
    for (int64_t p = plan.begin(chunk); p < plan.begin(chunk + 1); ++p)
      for (int64_t lane = 0; lane < plan.period; lane += LANES)
        body.template run<LANES>(p * plan.period + lane, lane);
  });
  for (int64_t i = plan.rest(); i < plan.size(); ++i) body.template run<1>(i, i % plan.channels);
}

template <class T, int act, int residual>
struct Apply {
  const T *x, *other;
  T *y;
  Affine affine;

  template <int L>
  void run(int64_t i, int64_t lane) const {
    auto z = (load<L>(x + i) - load<L>(affine.center + lane)) * load<L>(affine.scale + lane) +
             load<L>(affine.shift + lane);
    if (residual == BEFORE) z += load<L>(other + i);
    auto out = activate<T, act, L>(z);
    if (residual == AFTER) out += load<L>(other + i);
    store<L>(y + i, out);
  }
};

// Gradient before the activation, from the gradient after it.
template <class T, int act, int residual>
struct Slope {
  const T *gradient, *x, *other;
  Affine affine;

  template <int L>
  typename Lanes<L>::F at(int64_t i, int64_t lane, typename Lanes<L>::F apart) const {
    const auto g = load<L>(gradient + i);
    if (act == CONVSCOPE_NONE) return g;
    auto z = apart * load<L>(affine.scale + lane) + load<L>(affine.shift + lane);
    if (residual == BEFORE) z += load<L>(other + i);
    return slope<T, act, L>(z, g);
  }
};

// Per channel, the sums of g and of g * (x - mean), into out[2][C]; g itself into kept.
template <bool keep, class S, class T>
void sums(const S &slope_at, const T *x, const Plan &plan, float *scratch, double *out, T *kept,
          int threads) {
  typedef Lanes<LANES>::F F;
  const int64_t period = plan.period, channels = plan.channels;
  const float *const center = slope_at.affine.center;
  convscope::in_parts(plan.chunks, threads, [&](int64_t chunk) {
    float *const total = scratch + 2 * chunk * period;
    for (int64_t i = 0; i < 2 * period; ++i) total[i] = 0;
    const int64_t end = plan.begin(chunk + 1);
    for (int64_t from = plan.begin(chunk); from < end; from += plan.block) {
      const int64_t to = from + plan.block < end ? from + plan.block : end;
      for (int64_t first = 0; first < period; first += GROUP * LANES) {
        const int64_t left = (period - first) / LANES;
        const int vectors = left < GROUP ? int(left) : GROUP;
        F sum[GROUP] = {}, product[GROUP] = {};
        const auto add = [&](int64_t p, int v) {
          const int64_t lane = first + v * LANES, i = p * period + lane;
          const F apart = load<LANES>(x + i) - load<LANES>(center + lane);
          const F g = slope_at.template at<LANES>(i, lane, apart);
          if (keep) store<LANES>(kept + i, g);
          sum[v] += g;
          product[v] += g * apart;
        };
        if (vectors == GROUP) {
          for (int64_t p = from; p < to; ++p)
            for (int v = 0; v < GROUP; ++v) add(p, v);
        } else {
          for (int64_t p = from; p < to; ++p)
            for (int v = 0; v < vectors; ++v) add(p, v);
        }
        for (int v = 0; v < vectors; ++v) {
          float *const at = total + first + v * LANES;
          store<LANES>(at, load<LANES>(at) + sum[v]);
          store<LANES>(at + period, load<LANES>(at + period) + product[v]);
        }
      }
    }
  });
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0, product = 0;
    for (int64_t chunk = 0; chunk < plan.chunks && plan.periods; ++chunk) {
      const float *const total = scratch + 2 * chunk * period;
      for (int64_t i = c; i < period; i += channels) {
        sum += total[i];
        product += total[period + i];
      }
    }
    for (int64_t i = plan.rest() + c; i < plan.size(); i += channels) {
      const float apart = load<1>(x + i) - center[c];
      const float g = slope_at.template at<1>(i, c, apart);
      if (keep) store<1>(kept + i, g);
      sum += g;
      product += double(g) * apart;
    }
    out[c] = sum;
    out[channels + c] = product;
  }
}

template <class T, int act, int residual>
struct Backward {
  Slope<T, act, residual> slope_at;
  T *dx, *dother;
  const float *per_apart, *per_one;  // dx = g*scale - (x-mean)*per_apart - per_one

  template <int L>
  void run(int64_t i, int64_t lane) const {
    const Affine &affine = slope_at.affine;
    const auto apart = load<L>(slope_at.x + i) - load<L>(affine.center + lane);
    const auto g = slope_at.template at<L>(i, lane, apart);
    if (residual == BEFORE) store<L>(dother + i, g);
    store<L>(dx + i, g * load<L>(affine.scale + lane) -
                         (apart * load<L>(per_apart + lane) + load<L>(per_one + lane)));
  }
};

template <class T, int act, int residual>
void forward(const convscope_norm &norm, const void *x, const void *other, void *y, float *scratch,
             int threads) {
  const Plan plan(norm.rows, norm.channels);
  const Apply<T, act, residual> body{static_cast<const T *>(x), static_cast<const T *>(other),
                                     static_cast<T *>(y), Affine(norm, plan, scratch)};
  everywhere(plan, threads, body);
}

template <class T, int act, int residual>
void backward(const convscope_norm &norm, const void *gradient, const void *x, const void *other,
              void *dx, void *dother, float *dweight, float *dbias, float *scratch, int threads) {
  const Plan plan(norm.rows, norm.channels);
  float *const per_apart = scratch + 3 * plan.period;
  float *const per_one = per_apart + plan.period;
  // Doubles first: the scratch begins where doubles may lie, and 5 L is even.
  double *const totals = reinterpret_cast<double *>(scratch + 5 * plan.period);
  float *const parts = scratch + 5 * plan.period + 4 * plan.channels;
  const Slope<T, act, residual> slope_at{static_cast<const T *>(gradient),
                                         static_cast<const T *>(x), static_cast<const T *>(other),
                                         Affine(norm, plan, scratch)};
  const bool summed = dweight || dbias || norm.training;
  // GELU's slope takes longer than a pass over memory; float32 loses nothing by it.
  constexpr bool keep = act == CONVSCOPE_GELU && !is_half<T>;
  T *const kept = static_cast<T *>(dx);
  const bool keeps = keep && kept && summed;
  if (keeps)
    sums<keep>(slope_at, slope_at.x, plan, parts, totals, kept, threads);
  else if (summed)
    sums<false>(slope_at, slope_at.x, plan, parts, totals, kept, threads);
  const double n = double(plan.rows);
  for (int64_t c = 0; c < plan.channels && summed; ++c) {
    const double sum = totals[c], product = totals[plan.channels + c];
    const double spread = norm.variance ? norm.variance[c] + norm.epsilon : 1.f;
    if (dweight) dweight[c] = float(product / sqrtf(spread));
    if (dbias) dbias[c] = float(sum);
    if (!norm.training) continue;
    const double scale = slope_at.affine.scale[c];
    for (int64_t i = c; i < plan.period; i += plan.channels) {
      per_apart[i] = float(scale * product / (spread * n));
      per_one[i] = float(scale * sum / n);
    }
  }
  if (!norm.training)
    for (int64_t i = 0; i < 2 * plan.period; ++i) per_apart[i] = 0;
  if (!dx) return;
  if (keeps) {
    const Slope<T, CONVSCOPE_NONE, residual> same{kept, slope_at.x, slope_at.other,
                                                  slope_at.affine};
    everywhere(plan, threads,
               Backward<T, CONVSCOPE_NONE, residual>{same, kept, static_cast<T *>(dother),
                                                     per_apart, per_one});
    return;
  }
  const Backward<T, act, residual> body{slope_at, static_cast<T *>(dx), static_cast<T *>(dother),
                                        per_apart, per_one};
  everywhere(plan, threads, body);
}

template <int value>
using Constant = std::integral_constant<int, value>;

// Calls use(number, activation, residual) with the choices of `norm` known when compiling.
template <class Use>
int with_choices(const convscope_norm &norm, int threads, const Use &use) {
  if (norm.rows < 0 || norm.channels < 1 || threads < 1) return CONVSCOPE_E_ARGUMENT;
  const auto with_residual = [&](auto type, auto act) -> int {
    switch (norm.residual) {
      case ABSENT: use(type, act, Constant<ABSENT>{}); return 0;
      case BEFORE: use(type, act, Constant<BEFORE>{}); return 0;
      case AFTER: use(type, act, Constant<AFTER>{}); return 0;
      default: return CONVSCOPE_E_ARGUMENT;
    }
  };
  const auto with_activation = [&](auto type) -> int {
    switch (norm.activation) {
      case CONVSCOPE_NONE: return with_residual(type, Constant<CONVSCOPE_NONE>{});
      case CONVSCOPE_RELU: return with_residual(type, Constant<CONVSCOPE_RELU>{});
      case CONVSCOPE_GELU: return with_residual(type, Constant<CONVSCOPE_GELU>{});
      default: return CONVSCOPE_E_ARGUMENT;
    }
  };
  return norm.half ? with_activation(Half{}) : with_activation(float{});
}

}  // namespace

extern "C" {

int64_t convscope_norm_scratch(int64_t rows, int64_t channels) {
  if (rows < 0 || channels < 1) return CONVSCOPE_E_ARGUMENT;
  const Plan plan(rows, channels);
  return (5 + 2 * plan.chunks) * plan.period + 4 * channels;
}

int convscope_norm_statistics(const convscope_norm *norm, const void *x, float *mean,
                              float *variance, float *scratch, int threads) {
  if (norm->rows < 1 || norm->channels < 1 || threads < 1) return CONVSCOPE_E_ARGUMENT;
  const Plan plan(norm->rows, norm->channels);
  if (norm->half)
    statistics(static_cast<const Half *>(x), plan, mean, variance, scratch, threads);
  else
    statistics(static_cast<const float *>(x), plan, mean, variance, scratch, threads);
  return 0;
}

int convscope_norm_forward(const convscope_norm *norm, const void *x, const void *other, void *y,
                           float *scratch, int threads) {
  return with_choices(*norm, threads, [&](auto type, auto act, auto residual) {
    forward<decltype(type), act(), residual()>(*norm, x, other, y, scratch, threads);
  });
}

int convscope_norm_backward(const convscope_norm *norm, const void *gradient, const void *x,
                            const void *other, void *dx, void *dother, float *dweight, float *dbias,
                            float *scratch, int threads) {
  return with_choices(*norm, threads, [&](auto type, auto act, auto residual) {
    backward<decltype(type), act(), residual()>(*norm, gradient, x, other, dx, dother, dweight,
                                                dbias, scratch, threads);
  });
}
}
