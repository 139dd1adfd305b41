create table ValidPaths (id integer primary key, path text, hash text as (hex(zeroblob(1e8))), narSize int);
create table Refs (referrer, reference);
insert into ValidPaths (path) values ('/nix/store/c36rympbab651p7ir8wi3nigx1a9g2j3-a');
