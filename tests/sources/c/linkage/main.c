//#Status: 42
//#Flags: -fcommon
// Weak, common, alias and visibility, across two files.
#include "linkage.h"
#include <stdio.h>
#include <string.h>

// Common, smaller than the definition in the other file, and a hidden one.
char shared_buffer[16];
__attribute__((visibility("hidden"))) long hidden_common[4];
__attribute__((aligned(256))) char aligned_common[3];
int only_here;

// Weak here, strong there; and weak in both.
__attribute__((weak)) int overridden(void) { return 1; }
__attribute__((weak)) int overridden_data = 1;
__attribute__((weak)) int either(void) { return 11; }

// Weak undefined: function, data, and in initialised data.
extern int absent_function(int) __attribute__((weak));
extern int absent_data __attribute__((weak));
extern int absent_hidden(void) __attribute__((weak, visibility("hidden")));
int (*const absent_pointer)(int) = absent_function;
int *const absent_data_pointer = &absent_data;

static int real(int x) { return x * 3; }
int public_alias(int) __attribute__((alias("real")));
int weak_alias(int) __attribute__((weak, alias("real")));
int first_name = 5;
extern int second_name __attribute__((alias("first_name")));

int call_absent(void) { return absent_function ? absent_function(3) : -1; }

int main(void) {
  printf("common %d %d %d\n", shared_buffer_size(), (int)strlen(shared_buffer), only_here);
  fill_common();
  printf("common %s %ld %d\n", shared_buffer, hidden_common[3], (int)((unsigned long)aligned_common % 256));
  printf("weak %d %d %d\n", overridden(), overridden_data, either() == either_there());
  printf("absent %d %d %d %d %d\n", call_absent(), absent_pointer == 0, absent_data_pointer == 0, &absent_data == 0,
         absent_hidden == 0);
  printf("alias %d %d %d %d\n", public_alias(2), weak_alias(3), use_alias(4), public_alias == weak_alias);
  second_name++;
  printf("data alias %d %d\n", first_name, &first_name == &second_name);
  printf("visibility %d %d %d\n", hidden_function(), protected_function(), internal_function());
  printf("same address %d %d\n", address_there() == (void *)hidden_function, protected_address() == (void *)protected_function);
  // A static of the same name in both files.
  static int counter = 100;
  counter++;
  printf("local %d %d\n", counter, bump());
  return strcmp(shared_buffer, "a long text for 32 bytes") == 0 ? 42 : 1;
}
