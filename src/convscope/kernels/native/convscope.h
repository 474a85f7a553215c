/* The whole C surface of the native kernels.
 *
 * The caller allocates everything and passes the number of threads. A function returns 0
 * or a negative CONVSCOPE_E_*; it never allocates, prints, throws or keeps state. Tensors
 * are contiguous in the order that is given with them. */
#ifndef CONVSCOPE_H
#define CONVSCOPE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CONVSCOPE_API __attribute__((visibility("default")))

/* Rises with every change of this file: a library and the Python beside it must agree. */
#define CONVSCOPE_SURFACE 3

#define CONVSCOPE_E_ARGUMENT (-1) /* a size or a choice that is not supported */
#define CONVSCOPE_E_SPACE (-2)    /* a buffer is smaller than was asked for */

CONVSCOPE_API int convscope_surface(void);

/* 1 where this machine runs the instruction set of that name ("avx2"), 0 where not. */
CONVSCOPE_API int convscope_runs(const char *instruction_set);

/* A stage: convolution, bias, activation, pooling, in this order. A chain of stages is an
 * array of them, each with the output of the one before as input. A stage whose kernel
 * covers its whole input is a fully connected layer.
 *
 *   z[n,o,y,x] = bias[o] + sum_{c,i,j} x[n, c, y*stride + i - top, x*stride + j - left]
 *                                      * weight[o,c,i,j]          (0 outside of x)
 *   out        = pooling of activation(z) over windows that lie inside */
#define CONVSCOPE_NONE 0
#define CONVSCOPE_RELU 1
#define CONVSCOPE_TANH 2
#define CONVSCOPE_ABS 3
#define CONVSCOPE_GELU 4
#define CONVSCOPE_SIGMOID 5

#define CONVSCOPE_MAX 1
#define CONVSCOPE_AVERAGE 2

typedef struct {
  int64_t in_channels, in_height, in_width;
  int64_t out_channels, kernel_height, kernel_width;
  int64_t stride_height, stride_width;
  int64_t top, bottom, left, right; /* rows and columns of zeros around the input */
  int64_t has_bias, activation;
  int64_t pooling, pool_height, pool_width, pool_stride_height, pool_stride_width;
} convscope_stage;

/* Works out a plan from a chain: sizes and tables that all calls below read. With plan =
 * NULL returns the bytes that it takes; else writes it, and returns 0. */
CONVSCOPE_API int64_t convscope_plan(const convscope_stage *stages, int64_t count, void *plan,
                                     int64_t bytes);

/* Floats of `saved` (between forward and backward) and of `scratch` (for any call). */
CONVSCOPE_API int64_t convscope_saved_size(const void *plan, int64_t batch);
CONVSCOPE_API int64_t convscope_scratch_size(const void *plan, int64_t batch, int threads);

/* Forward. parameters: weight and bias of each stage in turn (bias NULL where it has
 * none). saved: NULL where no gradient will be asked for. */
CONVSCOPE_API int convscope_forward(const void *plan, int64_t batch, int threads, const float *x,
                                    const float *const *parameters, float *out, float *saved,
                                    float *scratch);

/* Backward: overwrites the gradient of every parameter, and of x unless grad_x is NULL. */
CONVSCOPE_API int convscope_backward(const void *plan, int64_t batch, int threads, const float *x,
                                     const float *const *parameters, const float *saved,
                                     const float *grad_out, float *grad_x,
                                     float *const *grad_parameters, float *scratch);

/* Forward, mean cross-entropy and backward at once, for a chain that ends in a map of 1x1
 * (logits of classes). targets: a class per image; or NULL, and shares[n][class] instead.
 * out (logits): may be NULL. loss: one number. */
CONVSCOPE_API int convscope_step(const void *plan, int64_t batch, int threads, const float *x,
                                 const float *const *parameters, const int64_t *targets,
                                 const float *shares, float label_smoothing, float *out,
                                 float *loss, float *const *grad_parameters, float *scratch);

/* Batch norm, an activation and a residual over rows of channels (norm.cpp).
 *
 * x, other, y, gradient, dx and dother hold rows * channels numbers, channels next to each
 * other, float32 or (half) bfloat16; everything else is float32. */
typedef struct {
  int64_t rows, channels;
  int32_t half;       /* 1: numbers are bfloat16 */
  int32_t activation; /* CONVSCOPE_NONE, CONVSCOPE_RELU or CONVSCOPE_GELU */
  int32_t residual;   /* other is added: 0 not, 1 before, 2 after the activation */
  int32_t training;   /* backward: mean and variance depend on x */
  float epsilon;
  const float *weight, *bias, *mean, *variance; /* (channels); NULL is 1, 0, 0, 1 */
} convscope_norm;

/* Floats of scratch that each of the following needs. */
CONVSCOPE_API int64_t convscope_norm_scratch(int64_t rows, int64_t channels);

/* Mean and biased variance of each channel. */
CONVSCOPE_API int convscope_norm_statistics(const convscope_norm *norm, const void *x, float *mean,
                                            float *variance, float *scratch, int threads);

/* y = activation((x - mean) / sqrt(variance + epsilon) * weight + bias) */
CONVSCOPE_API int convscope_norm_forward(const convscope_norm *norm, const void *x,
                                         const void *other, void *y, float *scratch, int threads);

/* Gradients. dx may be NULL, and so may dweight and dbias; dother is written where the
 * residual comes before the activation. */
CONVSCOPE_API int convscope_norm_backward(const convscope_norm *norm, const void *gradient,
                                          const void *x, const void *other, void *dx, void *dother,
                                          float *dweight, float *dbias, float *scratch,
                                          int threads);

/* Max pooling of channels-last images (maxpool.cpp).
 *
 * x and dx: (images, height, width, channels); y, gradient and winners:
 * (images, out_height, out_width, channels); float32 or (half) bfloat16. A winner is the
 * place of the largest number in its window, row by row, in one byte; the first wins a tie,
 * the last NaN beats all. */
typedef struct {
  int64_t images, channels, height, width, out_height, out_width;
  int64_t kernel_height, kernel_width;   /* together at most 255 taps */
  int64_t stride_height, stride_width;   /* at least an eighth of the kernel */
  int64_t padding_height, padding_width; /* before the image; never wins */
  int32_t half;                          /* 1: numbers are bfloat16 */
} convscope_maxpool;

/* winners may be NULL. */
CONVSCOPE_API int convscope_maxpool_forward(const convscope_maxpool *pool, const void *x, void *y,
                                            uint8_t *winners, int threads);

/* Writes every number of dx once. */
CONVSCOPE_API int convscope_maxpool_backward(const convscope_maxpool *pool, const void *gradient,
                                             const uint8_t *winners, void *dx, int threads);

#ifdef __cplusplus
}
#endif
#endif
