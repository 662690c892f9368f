// Starts the OCaml program and calls it.
#include <caml/callback.h>
#include <caml/mlvalues.h>
#include <stdio.h>

int main(int argc, char **argv) {
  (void)argc;
  caml_startup(argv);
  value result = caml_callback(*caml_named_value("fibonacci"), Val_int(20));
  printf("from C %d\n", (int)Int_val(result));
  value failed = caml_callback_exn(*caml_named_value("fails"), Val_int(1));
  printf("exception %d\n", Is_exception_result(failed));
  return Int_val(result) == 6765 ? 42 : 1;
}
