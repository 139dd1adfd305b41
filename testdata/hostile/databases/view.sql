create view ValidPaths as with recursive c(x) as (values (1) union all select x + 1 from c)
  select x as id, 'p' || x as path, 'sha256:abababababababababababababababababababababababababababababababab' as hash, 1 as narSize from c;
create table Refs (referrer, reference);
