package body Parts is
   function Checked (N : Integer) return Integer is
   begin
      if N > 10 then
         raise Too_Large with Integer'Image (N);
      end if;
      return N;
   end Checked;

   function Index (N : Integer) return Integer is (N + Alive);

   procedure Callback with Convention => C;
   procedure Callback is
   begin
      raise Too_Large;
   end Callback;

   procedure Through_C is
      type Action is access procedure with Convention => C;
      procedure Call (F : Action) with Import, Convention => C, External_Name => "call_back";
   begin
      Call (Callback'Access);
   end Through_C;

   procedure Sort (Values : in out Integers) is
      Swap : Integer;
   begin
      for I in Values'Range loop
         for J in I + 1 .. Values'Last loop
            if Item (Values (J)) < Item (Values (I)) then
               Swap := Values (I);
               Values (I) := Values (J);
               Values (J) := Swap;
            end if;
         end loop;
      end loop;
   end Sort;

   protected body Total is
      procedure Add (N : Integer) is
      begin
         Sum := Sum + N;
      end Add;
      function Value return Integer is (Sum);
   end Total;

   overriding procedure Initialize (T : in out Traced) is
      pragma Unreferenced (T);
   begin
      Alive := Alive + 1;
   end Initialize;
   overriding procedure Finalize (T : in out Traced) is
      pragma Unreferenced (T);
   begin
      Alive := Alive - 1;
   end Finalize;

   overriding function Area (S : Rectangle) return Integer is (S.Width * S.Height);
   function Make return Shape'Class is (Rectangle'(3, 4));
end Parts;
