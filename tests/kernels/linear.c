/* linear int8|bfloat16 ROWS COLUMNS DEPTH BYTES: x float32 [ROWS, DEPTH] and BYTES of packed parameters from standard
   input -> float32 [ROWS, COLUMNS] to standard output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void linear(long rows, long columns, long depth, void *x, void *parameters, void *memory, void *result);
linear linear_int8, linear_bfloat16;

static void *room(size_t size) { return aligned_alloc(64, (size + 63) / 64 * 64); }

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    long rows = atol(argv[2]), columns = atol(argv[3]), depth = atol(argv[4]);
    size_t inputs = rows * depth * sizeof(float), results = rows * columns * sizeof(float), packed = atol(argv[5]);
    void *x = room(inputs), *parameters = room(packed), *result = room(results);
    void *memory = room(32 * 2 * (depth + 64) + 32 * 34 * sizeof(float));
    if (fread(x, 1, inputs, stdin) != inputs || fread(parameters, 1, packed, stdin) != packed) return 1;
    linear *run = strcmp(argv[1], "int8") ? linear_bfloat16 : linear_int8;
    run(rows, columns, depth, x, parameters, memory, result);
    return fwrite(result, 1, results, stdout) != results;
}
