-- Joins, windows, common table expressions.
drop table if exists temp.pairs;
create temp table pairs as select a.id as a, b.id as b from items a join items b on b.id = a.id + 1 where a.id <= 20;
select a, b, sum(b) over (order by a rows between 2 preceding and current row), ntile(4) over (order by b) from pairs;
select name, rank() over (partition by length(data) order by price desc) as place from items where id <= 200 order by place, name limit 5;
with recursive mandelbrot (y, x, cx, cy, zx, zy, n) as (
  select 0, 0, -2.0, -1.2, 0.0, 0.0, 0
  union all
  select y, x, cx, cy, zx * zx - zy * zy + cx, 2.0 * zx * zy + cy, n + 1 from mandelbrot where n < 28 and zx * zx + zy * zy < 4
  union all
  select y + (x + 1) / 60, (x + 1) % 60, -2.0 + ((x + 1) % 60) * 0.05, -1.2 + (y + (x + 1) / 60) * 0.1, 0.0, 0.0, 0
  from mandelbrot where n = 0 and y + (x + 1) / 60 < 24
)
select y, sum(n), group_concat(substr(' .+*#', min(n / 6, 4) + 1, 1), '') from (select y, x, max(n) as n from mandelbrot group by y, x order by y, x) group by y;

-- Functions, of the library and of the host.
select reverse('stressed'), product(id), hex(reverse(name)) from items where id between 1 and 5;
select name from (select 'ccc' as name union select 'bb' union select 'a' union select 'aa') order by name collate by_length;
select printf('%.3f|%+d|%x|%-8s|%08.2f', pi(), 42, 255, 'left', -3.14159), sin(1), pow(2, 0.5), ln(10), 7 / 2, -7 % 3;
select date('2024-02-29', '+1 year', 'weekday 0'), julianday('2000-01-01 12:00'), strftime('%Y-%W-%j', '2023-12-31');
select json_extract('{"a":[1,{"b":[null,true,"x"]}]}', '$.a[1].b[2]'), json_group_array(id) from (select id from items limit 5);
select key, value, type from json_each('{"one":1,"two":[2],"three":"drei","four":4.5}') order by key;
select typeof(1), typeof(1.5), typeof('x'), typeof(x'00'), typeof(null), cast('12abc' as integer), 9223372036854775807 + 1;

-- Full text, R*tree, generated columns, upsert, triggers, views.
create virtual table if not exists documents using fts5 (title, body, tokenize = 'porter unicode61');
delete from documents;
insert into documents values ('linking', 'a linker resolves symbols'), ('loading', 'loaders load linked images'), ('other', 'Über größere Wörter');
select title, snippet(documents, 1, '[', ']', '...', 4), round(bm25(documents), 4) from documents where documents match 'link* OR grosse OR größere' order by rank;
create virtual table if not exists boxes using rtree (id, x0, x1, y0, y1);
insert or replace into boxes select id, id, id + 3, id % 7, id % 7 + 2 from items where id <= 300;
select count(*), min(id), max(id) from boxes where x0 >= 50 and x1 <= 120 and y0 > 2;
drop table if exists stock;
create table stock (name text primary key, amount integer, worth integer as (amount * 3) stored, check (amount < 100)) without rowid, strict;
drop table if exists history;
create table history (what text, was, becomes);
create trigger watch after update on stock begin insert into history values (new.name, old.amount, new.amount); end;
insert into stock (name, amount) values ('bolt', 5), ('nut', 8);
insert into stock (name, amount) values ('bolt', 2) on conflict (name) do update set amount = amount + excluded.amount returning name, amount, worth;
update stock set amount = 500 where name = 'nut';
create view if not exists report as select what, was, becomes from history;
select * from report;
explain query plan select * from items where price > 100 order by price desc, name;
analyze;
select tbl, idx, stat from sqlite_stat1 order by tbl, idx;
attach ':memory:' as other;
create table other.copy as select * from items;
select count(*), sum(length(data)) from other.copy;
detach other;
vacuum;
reindex;
insert into log (rows) select count(*) from items;
select * from log;
pragma foreign_key_check;
pragma integrity_check;
pragma page_count;
