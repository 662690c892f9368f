#include "linkage.h"
#include <string.h>

char shared_buffer[32];
__attribute__((visibility("hidden"))) long hidden_common[4];
char aligned_common[3];

int overridden(void) { return 2; }
int overridden_data = 2;
__attribute__((weak)) int either(void) { return 22; }
extern int public_alias(int);

int shared_buffer_size(void) { return sizeof shared_buffer; }
void fill_common(void) {
  strcpy(shared_buffer, "a long text for 32 bytes");
  hidden_common[3] = 77;
}
int either_there(void) { return either(); }
int use_alias(int x) { return public_alias(x) + 1; }
int hidden_function(void) { return 7; }
int protected_function(void) { return 8; }
int internal_function(void) { return 9; }
void *address_there(void) { return (void *)hidden_function; }
void *protected_address(void) { return (void *)protected_function; }
int bump(void) {
  static int counter = 200;
  return ++counter;
}
