// Batch norm with what follows it, over rows of channels (channels-last images).
//
// Rows are read 16 numbers at a time whatever the channel count: L = lcm(C, 64)
// numbers are one period, in which lane and channel fit together; the few rows after
// the last whole period are taken one by one. Work is cut into chunks by size alone,
// so that the sums are the same to the last bit for any number of threads.
#include <cmath>
#include <numeric>
#include <type_traits>

#include "convscope.h"
#include "slopes.h"
#include "threads.h"

namespace {

constexpr int kLanes = 16;
constexpr int kGroup = 4;            // vectors whose sums stay in registers
constexpr int64_t kBlock = 8192;     // numbers that stay in the first cache
constexpr int64_t kChunks = 64;      // most parts that threads share
constexpr int64_t kLeast = 1 << 14;  // numbers that are worth a part

struct Plan {
  int64_t rows, channels, period, periods, chunks, block;  // block: in periods

  Plan(int64_t rows_, int64_t channels_) : rows(rows_), channels(channels_) {
    period = std::lcm(channels, static_cast<int64_t>(kGroup * kLanes));
    if (period > kBlock) period = std::lcm(channels, static_cast<int64_t>(kLanes));
    periods = rows * channels / period;
    const int64_t wanted = rows * channels / kLeast;
    chunks = wanted < 1 ? 1 : wanted > kChunks ? kChunks : wanted;
    if (chunks > periods) chunks = periods < 1 ? 1 : periods;
    block = kBlock / period < 1 ? 1 : kBlock / period;
  }
  int64_t begin(int64_t chunk) const { return periods * chunk / chunks; }
  int64_t rest() const { return periods * period; }  // first number of the last rows
  int64_t size() const { return rows * channels; }
};

// Mean and squared deviations of each lane of `count` periods from `x`.
template <class T>
void block_statistics(const T* x, int64_t period, int64_t count, float before,
                      float* mean, float* squares) {
  typedef Lanes<kLanes>::F F;
  const float n = static_cast<float>(count), all = before + n;
  for (int64_t first = 0; first < period; first += kGroup * kLanes) {
    const int64_t left = (period - first) / kLanes;
    const int vectors = left < kGroup ? static_cast<int>(left) : kGroup;
    F sum[kGroup] = {}, square[kGroup] = {}, rest[kGroup] = {};
    const T* row = x + first;
    const auto walk = [&](auto each) {
      for (int64_t i = 0; i < count; ++i)
        for (int v = 0; v < kGroup; ++v)
          each(v, load<kLanes>(row + i * period + v * kLanes));
    };
    const auto walk_some = [&](auto each) {
      for (int64_t i = 0; i < count; ++i)
        for (int v = 0; v < vectors; ++v)
          each(v, load<kLanes>(row + i * period + v * kLanes));
    };
    const auto add = [&](int v, F value) { sum[v] += value; };
    const auto add_square = [&](int v, F value) {
      const F d = value - sum[v];
      square[v] += d * d;
      rest[v] += d;  // what rounding has taken from the mean
    };
    if (vectors == kGroup) walk(add); else walk_some(add);
    for (int v = 0; v < vectors; ++v) sum[v] *= 1.0f / n;
    if (vectors == kGroup) walk(add_square); else walk_some(add_square);
    for (int v = 0; v < vectors; ++v) {  // joined as Chan, Golub & LeVeque do
      float* const m = mean + first + v * kLanes;
      float* const s = squares + first + v * kLanes;
      const F own = sum[v] + rest[v] / n, spread = square[v] - rest[v] * rest[v] / n;
      if (before == 0) {
        store<kLanes>(m, own);
        store<kLanes>(s, spread);
        continue;
      }
      const F old = load<kLanes>(m), apart = own - old;
      store<kLanes>(m, old + apart * (n / all));
      store<kLanes>(s, load<kLanes>(s) + spread + apart * apart * (before * n / all));
    }
  }
}

template <class T>
void statistics(const T* x, const Plan& plan, float* mean, float* variance,
                float* scratch, int threads) {
  const int64_t period = plan.period, channels = plan.channels;
  convscope::in_parts(plan.chunks, threads, [&](int64_t chunk) {
    float* const means = scratch + 2 * chunk * period;
    const int64_t begin = plan.begin(chunk), end = plan.begin(chunk + 1);
    for (int64_t p = begin; p < end; p += plan.block) {
      const int64_t count = p + plan.block < end ? plan.block : end - p;
      block_statistics(x + p * period, period, count, static_cast<float>(p - begin),
                       means, means + period);
    }
  });
  for (int64_t c = 0; c < channels; ++c) {
    double total = 0, squares = 0;
    const auto each_part = [&](auto use) {  // use(count, mean, squared deviations)
      for (int64_t chunk = 0; chunk < plan.chunks && plan.periods; ++chunk) {
        const double n = static_cast<double>(plan.begin(chunk + 1) - plan.begin(chunk));
        const float* const means = scratch + 2 * chunk * period;
        for (int64_t i = c; i < period; i += channels)
          use(n, means[i], means[period + i]);
      }
      for (int64_t i = plan.rest() + c; i < plan.size(); i += channels)
        use(1.0, load<1>(x + i), 0.0f);
    };
    each_part([&](double n, float m, float) { total += n * m; });
    const double center = total / static_cast<double>(plan.rows);
    each_part([&](double n, float m, float s) {
      squares += s + n * (m - center) * (m - center);
    });
    mean[c] = static_cast<float>(center);
    variance[c] = static_cast<float>(squares / static_cast<double>(plan.rows));
  }
}

// What each lane of a period is computed with: z = (x - center) * scale + shift.
struct Affine {
  float *center, *scale, *shift;

  Affine(const convscope_norm& norm, const Plan& plan, float* scratch)
      : center(scratch), scale(scratch + plan.period), shift(scale + plan.period) {
    for (int64_t i = 0; i < plan.period; ++i) {
      const int64_t c = i % plan.channels;
      const float weight = norm.weight ? norm.weight[c] : 1.0f;
      center[i] = norm.mean ? norm.mean[c] : 0.0f;
      scale[i] = norm.variance
                     ? weight / std::sqrt(norm.variance[c] + norm.epsilon)
                     : weight;
      shift[i] = norm.bias ? norm.bias[c] : 0.0f;
    }
  }
};

enum Residual { kAbsent = 0, kBefore = 1, kAfter = 2 };  // the activation

// Calls body.run<L>(position, lane) for all numbers, by vectors and then one by one.
template <class Body>
void everywhere(const Plan& plan, int threads, const Body& body) {
  convscope::in_parts(plan.chunks, threads, [&](int64_t chunk) {
    for (int64_t p = plan.begin(chunk); p < plan.begin(chunk + 1); ++p)
      for (int64_t lane = 0; lane < plan.period; lane += kLanes)
        body.template run<kLanes>(p * plan.period + lane, lane);
  });
  for (int64_t i = plan.rest(); i < plan.size(); ++i)
    body.template run<1>(i, i % plan.channels);
}

template <class T, int act, int residual>
struct Apply {
  const T *x, *other;
  T* y;
  Affine affine;

  template <int L>
  void run(int64_t i, int64_t lane) const {
    auto z = (load<L>(x + i) - load<L>(affine.center + lane)) *
                 load<L>(affine.scale + lane) + load<L>(affine.shift + lane);
    if (residual == kBefore) z += load<L>(other + i);
    auto out = activate<T, act, L>(z);
    if (residual == kAfter) out += load<L>(other + i);
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
    if (act == kNone) return g;
    auto z = apart * load<L>(affine.scale + lane) + load<L>(affine.shift + lane);
    if (residual == kBefore) z += load<L>(other + i);
    return slope<T, act, L>(z, g);
  }
};

// Per channel, the sums of g and of g * (x - mean), into out[2][C]; g itself into kept.
template <bool keep, class S, class T>
void sums(const S& slope_at, const T* x, const Plan& plan, float* scratch,
          double* out, T* kept, int threads) {
  typedef Lanes<kLanes>::F F;
  const int64_t period = plan.period, channels = plan.channels;
  const float* const center = slope_at.affine.center;
  convscope::in_parts(plan.chunks, threads, [&](int64_t chunk) {
    float* const total = scratch + 2 * chunk * period;
    for (int64_t i = 0; i < 2 * period; ++i) total[i] = 0;
    const int64_t end = plan.begin(chunk + 1);
    for (int64_t from = plan.begin(chunk); from < end; from += plan.block) {
      const int64_t to = from + plan.block < end ? from + plan.block : end;
      for (int64_t first = 0; first < period; first += kGroup * kLanes) {
        const int64_t left = (period - first) / kLanes;
        const int vectors = left < kGroup ? static_cast<int>(left) : kGroup;
        F sum[kGroup] = {}, product[kGroup] = {};
        const auto add = [&](int64_t p, int v) {
          const int64_t lane = first + v * kLanes, i = p * period + lane;
          const F apart = load<kLanes>(x + i) - load<kLanes>(center + lane);
          const F g = slope_at.template at<kLanes>(i, lane, apart);
          if (keep) store<kLanes>(kept + i, g);
          sum[v] += g;
          product[v] += g * apart;
        };
        if (vectors == kGroup) {
          for (int64_t p = from; p < to; ++p)
            for (int v = 0; v < kGroup; ++v) add(p, v);
        } else {
          for (int64_t p = from; p < to; ++p)
            for (int v = 0; v < vectors; ++v) add(p, v);
        }
        for (int v = 0; v < vectors; ++v) {
          float* const at = total + first + v * kLanes;
          store<kLanes>(at, load<kLanes>(at) + sum[v]);
          store<kLanes>(at + period, load<kLanes>(at + period) + product[v]);
        }
      }
    }
  });
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0, product = 0;
    for (int64_t chunk = 0; chunk < plan.chunks && plan.periods; ++chunk) {
      const float* const total = scratch + 2 * chunk * period;
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
      product += static_cast<double>(g) * apart;
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
    const Affine& affine = slope_at.affine;
    const auto apart = load<L>(slope_at.x + i) - load<L>(affine.center + lane);
    const auto g = slope_at.template at<L>(i, lane, apart);
    if (residual == kBefore) store<L>(dother + i, g);
    store<L>(dx + i, g * load<L>(affine.scale + lane) -
                         (apart * load<L>(per_apart + lane) + load<L>(per_one + lane)));
  }
};

template <class T, int act, int residual>
void forward(const convscope_norm& norm, const void* x, const void* other, void* y,
             float* scratch, int threads) {
  const Plan plan(norm.rows, norm.channels);
  const Apply<T, act, residual> body{static_cast<const T*>(x),
                                     static_cast<const T*>(other), static_cast<T*>(y),
                                     Affine(norm, plan, scratch)};
  everywhere(plan, threads, body);
}

template <class T, int act, int residual>
void backward(const convscope_norm& norm, const void* gradient, const void* x,
              const void* other, void* dx, void* dother, float* dweight, float* dbias,
              float* scratch, int threads) {
  const Plan plan(norm.rows, norm.channels);
  float* const per_apart = scratch + 3 * plan.period;
  float* const per_one = per_apart + plan.period;
  // Doubles first: the scratch begins where doubles may lie, and 5 L is even.
  double* const totals = reinterpret_cast<double*>(scratch + 5 * plan.period);
  float* const parts = scratch + 5 * plan.period + 4 * plan.channels;
  const Slope<T, act, residual> slope_at{
      static_cast<const T*>(gradient), static_cast<const T*>(x),
      static_cast<const T*>(other), Affine(norm, plan, scratch)};
  const bool summed = dweight || dbias || norm.training;
  // GELU's slope takes longer than a pass over memory; float32 loses nothing by it.
  constexpr bool keep = act == kGelu && !is_half<T>;
  T* const kept = static_cast<T*>(dx);
  const bool keeps = keep && kept && summed;
  if (keeps)
    sums<keep>(slope_at, slope_at.x, plan, parts, totals, kept, threads);
  else if (summed)
    sums<false>(slope_at, slope_at.x, plan, parts, totals, kept, threads);
  const double n = static_cast<double>(plan.rows);
  for (int64_t c = 0; c < plan.channels && summed; ++c) {
    const double sum = totals[c], product = totals[plan.channels + c];
    const double spread = norm.variance ? norm.variance[c] + norm.epsilon : 1.0f;
    if (dweight) dweight[c] = static_cast<float>(product / std::sqrt(spread));
    if (dbias) dbias[c] = static_cast<float>(sum);
    if (!norm.training) continue;
    const double scale = slope_at.affine.scale[c];
    for (int64_t i = c; i < plan.period; i += plan.channels) {
      per_apart[i] = static_cast<float>(scale * product / (spread * n));
      per_one[i] = static_cast<float>(scale * sum / n);
    }
  }
  if (!norm.training)
    for (int64_t i = 0; i < 2 * plan.period; ++i) per_apart[i] = 0;
  if (!dx) return;
  if (keeps) {
    const Slope<T, kNone, residual> same{kept, slope_at.x, slope_at.other,
                                         slope_at.affine};
    everywhere(plan, threads,
               Backward<T, kNone, residual>{same, kept, static_cast<T*>(dother),
                                            per_apart, per_one});
    return;
  }
  const Backward<T, act, residual> body{slope_at, static_cast<T*>(dx),
                                        static_cast<T*>(dother), per_apart, per_one};
  everywhere(plan, threads, body);
}

}  // namespace

extern "C" {

int64_t convscope_norm_scratch(int64_t rows, int64_t channels) {
  if (rows < 0 || channels < 1) return CONVSCOPE_E_ARGUMENT;
  const Plan plan(rows, channels);
  return (5 + 2 * plan.chunks) * plan.period + 4 * channels;
}

int convscope_norm_statistics(const convscope_norm* norm, const void* x, float* mean,
                              float* variance, float* scratch, int threads) {
  if (norm->rows < 1 || norm->channels < 1 || threads < 1) return CONVSCOPE_E_ARGUMENT;
  const Plan plan(norm->rows, norm->channels);
  if (norm->half)
    statistics(static_cast<const Half*>(x), plan, mean, variance, scratch, threads);
  else
    statistics(static_cast<const float*>(x), plan, mean, variance, scratch, threads);
  return 0;
}

#define CHOOSE(CALL)                                                         \
  if (norm->rows < 0 || norm->channels < 1 || threads < 1) return CONVSCOPE_E_ARGUMENT;        \
  switch ((norm->half ? 9 : 0) + 3 * norm->activation + norm->residual) {    \
    case 0: CALL(float, kNone, kAbsent); break;                              \
    case 1: CALL(float, kNone, kBefore); break;                              \
    case 2: CALL(float, kNone, kAfter); break;                               \
    case 3: CALL(float, kRelu, kAbsent); break;                              \
    case 4: CALL(float, kRelu, kBefore); break;                              \
    case 5: CALL(float, kRelu, kAfter); break;                               \
    case 6: CALL(float, kGelu, kAbsent); break;                              \
    case 7: CALL(float, kGelu, kBefore); break;                              \
    case 8: CALL(float, kGelu, kAfter); break;                               \
    case 9: CALL(Half, kNone, kAbsent); break;                               \
    case 10: CALL(Half, kNone, kBefore); break;                              \
    case 11: CALL(Half, kNone, kAfter); break;                               \
    case 12: CALL(Half, kRelu, kAbsent); break;                              \
    case 13: CALL(Half, kRelu, kBefore); break;                              \
    case 14: CALL(Half, kRelu, kAfter); break;                               \
    case 15: CALL(Half, kGelu, kAbsent); break;                              \
    case 16: CALL(Half, kGelu, kBefore); break;                              \
    case 17: CALL(Half, kGelu, kAfter); break;                               \
    default: return CONVSCOPE_E_ARGUMENT;                                                      \
  }                                                                          \
  return 0

int convscope_norm_forward(const convscope_norm* norm, const void* x,
                           const void* other, void* y, float* scratch, int threads) {
#define CALL(T, A, R) forward<T, A, R>(*norm, x, other, y, scratch, threads)
  CHOOSE(CALL);
#undef CALL
}

int convscope_norm_backward(const convscope_norm* norm, const void* gradient,
                            const void* x, const void* other, void* dx, void* dother,
                            float* dweight, float* dbias, float* scratch, int threads) {
#define CALL(T, A, R)                                                             \
  backward<T, A, R>(*norm, gradient, x, other, dx, dother, dweight, dbias, scratch, \
                    threads)
  CHOOSE(CALL);
#undef CALL
}
}
