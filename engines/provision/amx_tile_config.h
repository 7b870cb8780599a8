/* Included before every source of llama.cpp (see cpu_variants.cmake).
 *
 * The `_tile_loadconfig` of GCC 12.2 (Debian 12) tells the compiler that `ldtilecfg` reads 8 bytes.
 * It reads 64, so the optimizer drops the rest of the configuration that was just written, and the
 * first tile instruction of ggml's AMX code ends the server with SIGILL. This one names all 64. */
#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
typedef struct { char bytes[64]; } __attribute__((may_alias)) quantswarm_tile_config;
static inline void quantswarm_tile_loadconfig(const void *config) {
    __asm__ volatile("ldtilecfg %0" : : "m"(*(const quantswarm_tile_config *)config));
}
#undef _tile_loadconfig
#define _tile_loadconfig quantswarm_tile_loadconfig
#endif
