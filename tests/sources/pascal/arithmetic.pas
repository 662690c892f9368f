{ A unit without initialisation, called from C. }
unit Arithmetic;
{$mode objfpc}
interface
function pascal_gcd(a, b: LongInt): LongInt; cdecl; public name 'pascal_gcd';
function pascal_sum(values: PLongInt; count: LongInt): Int64; cdecl; public name 'pascal_sum';
procedure pascal_call(f: Pointer; x: LongInt); cdecl; public name 'pascal_call';
implementation
type
  TCallback = procedure(x: LongInt); cdecl;
var
  Calls: LongInt = 1;
function pascal_gcd(a, b: LongInt): LongInt; cdecl;
begin
  if b = 0 then pascal_gcd := a else pascal_gcd := pascal_gcd(b, a mod b);
end;
function pascal_sum(values: PLongInt; count: LongInt): Int64; cdecl;
var
  I: LongInt;
begin
  Result := 0;
  for I := 0 to count - 1 do Result := Result + values[I];
end;
procedure pascal_call(f: Pointer; x: LongInt); cdecl;
begin
  Inc(Calls);
  case x of
    0: TCallback(f)(-1);
    1..5: TCallback(f)(x * Calls);
    7: TCallback(f)(77);
    9: TCallback(f)(99);
  else
    TCallback(f)(x);
  end;
end;
end.
