// What the C guests need of a C library: malloc, free, and the allocator that the host calls. Blocks come in sizes of
// powers of two, with their class in a word before them, and free ones are kept in a list per class.
//
// There is one shadow stack, whatever the number of tasks and threads: a function that blocks in its middle must keep
// nothing on it. So those pass memory from malloc to the host, not the address of a local variable.
#include "component.h"

#define HEADER 8
#define SMALLEST 4 // 16 bytes

extern u8 __heap_base;
static u32 top;
static void *free_lists[32];

static void *grow(u32 size) {
  if (!top) top = ((u32)&__heap_base + 7) & ~7u;
  u32 block = top, end = block + size, have = __builtin_wasm_memory_size(0) << 16;
  if (end < block) __builtin_trap();
  if (end > have && __builtin_wasm_memory_grow(0, (end - have + 0xffff) >> 16) == (size_t)-1) __builtin_trap();
  top = end;
  return (void *)block;
}

static u32 class_of(size_t size) {
  u32 class = SMALLEST;
  while (class < 31 && (1u << class) - HEADER < size) class++;
  if (class == 31) __builtin_trap();
  return class;
}

void *malloc(size_t size) {
  u32 class = class_of(size);
  void **block = free_lists[class];
  if (block) {
    free_lists[class] = *block;
    return block;
  }
  u32 *header = grow(1u << class);
  *header = class;
  return (u8 *)header + HEADER;
}

void free(void *block) {
  if ((u32)block <= HEADER) return; // null, or the address that an empty value has
  u32 class = *(u32 *)((u8 *)block - HEADER);
  *(void **)block = free_lists[class];
  free_lists[class] = block;
}

void *memcpy(void *to, const void *from, size_t size) {
  u8 *t = to;
  const u8 *f = from;
  while (size--) *t++ = *f++;
  return to;
}

void *memset(void *to, int value, size_t size) {
  u8 *t = to;
  while (size--) *t++ = (u8)value;
  return to;
}

EXPORT("cabi_realloc") void *cabi_realloc(void *old, size_t old_size, size_t alignment, size_t size) {
  if (!size) {
    free(old);
    return (void *)alignment;
  }
  void *block = malloc(size);
  if (old) {
    memcpy(block, old, old_size < size ? old_size : size);
    free(old);
  }
  return block;
}
