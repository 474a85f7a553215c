// The update of all parameters in one pass over one flat buffer.
#include <math.h>

#include "convscope.h"
#include "threads.h"

namespace {

constexpr int64_t WORTH_A_THREAD = 1 << 15;  // below, waking one costs more than it does

// body(first, end) for each thread's part.
template <class Body>
void in_parts(int64_t count, int threads, const Body &body) {
  const int64_t most = count / WORTH_A_THREAD + 1;
  const int used = threads < most ? threads : int(most);
  convscope::in_parallel(used, [&](int thread) {
    body(count * thread / used, count * (thread + 1) / used);
  });
}

}  // namespace

// g' = g + weight_decay p;  v = momentum v + (1 - dampening) g' (at first: v = g');
// p -= learning_rate v, or with Nesterov learning_rate (g' + momentum v)
extern "C" int convscope_sgd(float *parameters, const float *gradients, float *velocity,
                             int64_t count, float learning_rate, float momentum,
                             float dampening, float weight_decay, int nesterov, int first,
                             int threads) {
  if (count < 0 || (momentum != 0 && !velocity)) return CONVSCOPE_E_ARGUMENT;
  const float kept = first ? 0.f : momentum, taken = first ? 1.f : 1.f - dampening;
  const float of_gradient = nesterov ? 1.f : 0.f, of_velocity = nesterov ? momentum : 1.f;
  in_parts(count, threads, [&](int64_t begin, int64_t end) {
    float *__restrict p = parameters, *__restrict v = velocity;
    const float *__restrict from = gradients;
    if (momentum == 0) {
      for (int64_t i = begin; i < end; ++i)
        p[i] -= learning_rate * (from[i] + weight_decay * p[i]);
    } else if (first) {  // what lies in the velocity is not read: it may be anything
      for (int64_t i = begin; i < end; ++i) {
        const float g = from[i] + weight_decay * p[i];
        v[i] = g;
        p[i] -= learning_rate * (of_gradient * g + of_velocity * g);
      }
    } else {
      for (int64_t i = begin; i < end; ++i) {
        const float g = from[i] + weight_decay * p[i];
        v[i] = kept * v[i] + taken * g;
        p[i] -= learning_rate * (of_gradient * g + of_velocity * v[i]);
      }
    }
  });
  return 0;
}

// p *= 1 - learning_rate weight_decay;  m and s: running means of g and g^2;
// p -= learning_rate m' / (sqrt(s') + epsilon), each mean over 1 - beta^step
extern "C" int convscope_adamw(float *parameters, const float *gradients, float *mean,
                               float *square, int64_t count, double learning_rate,
                               double beta1, double beta2, double epsilon,
                               double weight_decay, int64_t step, int threads) {
  if (count < 0 || step < 1) return CONVSCOPE_E_ARGUMENT;
  const float shrink = float(1 - learning_rate * weight_decay);
  const float size = float(learning_rate / (1 - pow(beta1, double(step))));
  const float scale = float(1 / sqrt(1 - pow(beta2, double(step))));
  const float new1 = float(1 - beta1), new2 = float(1 - beta2), kept2 = float(beta2);
  const float small = float(epsilon);
  in_parts(count, threads, [&](int64_t begin, int64_t end) {
    float *__restrict p = parameters, *__restrict m = mean, *__restrict s = square;
    const float *__restrict from = gradients;
    for (int64_t i = begin; i < end; ++i) {
      const float g = from[i];
      m[i] += new1 * (g - m[i]);
      s[i] = kept2 * s[i] + new2 * g * g;
      p[i] = shrink * p[i] - size * m[i] / (sqrtf(s[i]) * scale + small);
    }
  });
  return 0;
}
