create table ValidPaths (id integer primary key, path text, hash text, narSize int);
create table Refs (referrer, reference, primary key (referrer, reference));
insert into ValidPaths (path, hash, narSize) values ('/nix/store/c36rympbab651p7ir8wi3nigx1a9g2j3-a', 'sha256:abababababababababababababababababababababababababababababababab', 1);
