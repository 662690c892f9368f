--  Exceptions, tasks, protected objects, generics, controlled types, unbounded strings.
with Ada.Command_Line;
with Ada.Exceptions;
with Ada.Strings.Unbounded; use Ada.Strings.Unbounded;
with Ada.Text_IO; use Ada.Text_IO;
with Parts;

procedure Demo is
   Words : Unbounded_String := To_Unbounded_String ("linker");
   Sum   : Integer := 0;

   procedure Sort is new Parts.Sort (Integer, "<");
   Numbers : Parts.Integers := (5, 3, 9, 1);

   task type Adder (By : Integer) is
      entry Start (Times : Integer);
   end Adder;
   task body Adder is
      Count : Integer;
   begin
      accept Start (Times : Integer) do
         Count := Times;
      end Start;
      for I in 1 .. Count loop
         Parts.Total.Add (By);
      end loop;
   end Adder;

begin
   Append (Words, " and" & Integer'Image (Length (Words)));
   Put_Line (To_String (Words) & " " & Integer'Image (Index (Words, "and")));

   Sort (Numbers);
   for N of Numbers loop
      Put (Integer'Image (N));
   end loop;
   New_Line;

   declare
      One : Adder (1);
      Ten : Adder (10);
   begin
      One.Start (5);
      Ten.Start (3);
   end;
   Put_Line ("total" & Integer'Image (Parts.Total.Value));

   begin
      Sum := Parts.Checked (3) + Parts.Checked (30);
   exception
      when E : Parts.Too_Large =>
         Put_Line (Ada.Exceptions.Exception_Name (E) & ": " & Ada.Exceptions.Exception_Message (E));
   end;
   begin
      Sum := Numbers (Parts.Index (7));
   exception
      when Constraint_Error =>
         Put_Line ("constraint error");
   end;
   begin
      Parts.Through_C;
   exception
      when Parts.Too_Large =>
         Put_Line ("through a frame of C");
   end;
   declare
      Object : Parts.Traced;
      pragma Unreferenced (Object);
   begin
      Put_Line ("alive" & Integer'Image (Parts.Alive));
   end;
   Put_Line ("alive" & Integer'Image (Parts.Alive));
   Put_Line (Standard_Error, "to standard error" & Sum'Image);
   if Parts.Make.Area = 12 then
      Ada.Command_Line.Set_Exit_Status (42);
   end if;
end Demo;
