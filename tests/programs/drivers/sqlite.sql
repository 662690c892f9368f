-- Runs twice: the second time, the database has what the first left there.
pragma page_size = 1024;
create table if not exists log (run integer primary key, rows integer);
drop table if exists items;
create table items (id integer primary key, name text not null unique collate nocase, price real, data blob, check (price >= 0));
begin;
with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 5000)
insert into items (name, price, data)
select 'item ' || printf('%05d', n * 7919 % 5003), n * 1.25 / 3, zeroblob(n % 40) from numbers;
create index by_price on items (price desc, name);
commit;
select count(*), min(name), max(name), round(avg(price), 6), total(length(data)) from items;

-- A transaction that is undone, in parts and as a whole.
begin immediate;
delete from items where id % 2;
savepoint inner;
update items set price = price * 2 where id < 100;
select changes(), count(*), round(sum(price), 6) from items;
rollback to inner;
select count(*), round(sum(price), 6) from items;
rollback;
select count(*), round(sum(price), 6) from items;

-- Errors.
insert into items (name, price) values ('ITEM 00001', 1);
insert into items (name, price) values ('negative', -1);
select no_such_column from items;
