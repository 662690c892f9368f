#include "tls.h"

__thread int there = 10;
__thread long there_zero[8];
__thread int initial_exec = 20;
__thread int hidden_there = 30;
static __thread int hidden_static = 11;
static __thread char big[10000];

static __thread int one __attribute__((tls_model("local-dynamic"))) = 1;
static __thread int two __attribute__((tls_model("local-dynamic"))) = 2;
static __thread int three __attribute__((tls_model("local-dynamic"))) = 3;

int *there_static(void) { return &hidden_static; }
int *address_of(int which) { return which ? &hidden_there : &initial_exec; }
int local_dynamic_sum(void) { return one + two + three; }
int read_there(void) { return there; }
char *big_there(void) { return big; }
