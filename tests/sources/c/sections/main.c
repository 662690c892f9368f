//#Status: 42
// Sections: __start_/__stop_, alignment, merged strings, large data, addresses in data.
#include "sections.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

REGISTER(alpha, 1);
REGISTER(beta, 2);

extern const struct entry __start_entries[], __stop_entries[];
extern int __start_absent[] __attribute__((weak)), __stop_absent[] __attribute__((weak));

char page[5000] __attribute__((aligned(4096))) = "page";
static char zero_page[64] __attribute__((aligned(4096)));
__attribute__((aligned(256))) static int aligned_function(int x) { return x + 1; }
__attribute__((section(".text.own"))) static int own_text(int x) { return x + 2; }
__attribute__((section("own_section"))) int own_data = 3;

int table[100000];
static int *const middle = &table[50000];
static char *const page_end = page + 4999;
static const char *const messages[] = {"one", "two", "same text", "three"};
struct node { struct node *next; int value; };
static struct node third = {0, 3}, second = {&third, 2}, first = {&second, 1};

int main(void) {
  int count = 0, sum = 0;
  for (const struct entry *e = __start_entries; e < __stop_entries; e++)
    count++, sum += e->value;
  printf("entries %d sum %d there %d\n", count, sum, (int)entries_there());
  printf("absent %d %d\n", __start_absent == 0, __stop_absent == 0);
  printf("aligned %d %d %d\n", (int)((uintptr_t)page % 4096), (int)((uintptr_t)zero_page % 4096),
         (int)((uintptr_t)&aligned_function % 256));
  printf("own %d %d %d\n", aligned_function(1), own_text(1), own_data);
  *middle = 17;
  *page_end = 'e';
  zero_page[63] = 1;
  printf("inside %d %c %d\n", table[50000], page[4999], zero_page[63] + zero_page[0]);
  for (unsigned i = 0; i < sizeof messages / sizeof *messages; i++)
    printf("%s ", messages[i]);
  puts(text_there());
  int chain = 0;
  for (struct node *n = &first; n; n = n->next)
    chain = chain * 10 + n->value;
  printf("chain %d\n", chain);
  return count == 4 && sum == 10 && entries_there() == 4 ? 42 : 1;
}
