(* Closures, exceptions, garbage collection, hash tables, floats, callbacks from C. *)
module Words = Map.Make (String)

exception Broken of int

let rec fibonacci n = if n < 2 then n else fibonacci (n - 1) + fibonacci (n - 2)

let count text =
  List.fold_left
    (fun words word -> Words.update word (function None -> Some 1 | Some n -> Some (n + 1)) words)
    Words.empty
    (String.split_on_char ' ' text)

let () =
  Callback.register "fibonacci" fibonacci;
  Callback.register "fails" (fun n -> raise (Broken n));
  Words.iter (Printf.printf "%s %d\n") (count "the linker binds the symbol");
  (try ignore (List.assoc 5 [ (1, 2) ]) with Not_found -> print_endline "not found");
  (try raise (Broken 7) with Broken n -> Printf.printf "broken %d\n" n);
  let table = Hashtbl.create 16 in
  for i = 1 to 100_000 do
    Hashtbl.replace table (i mod 1000) (Array.make 10 (float_of_int i))
  done;
  Gc.full_major ();
  Printf.printf "%d %.3f %s\n" (Hashtbl.length table) (sqrt 2.0) (String.concat "," (List.map string_of_int [ 3; 1; 2 ]));
  flush stdout
