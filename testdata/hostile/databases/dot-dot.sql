create table ValidPaths (id integer primary key autoincrement not null, path text unique not null, hash text not null,
  registrationTime integer not null, deriver text, narSize integer, ultimate integer, sigs text, ca text);
create table Refs (referrer integer not null, reference integer not null, primary key (referrer, reference));
create index IndexReferrer on Refs (referrer);
create index IndexReference on Refs (reference);
insert into ValidPaths (path, hash, registrationTime, narSize) values ('/nix/store/c36rympbab651p7ir8wi3nigx1a9g2j3-a', 'sha256:abababababababababababababababababababababababababababababababab', 1, 1);
insert into ValidPaths (path, hash, registrationTime, narSize) values ('/nix/store/../../etc/passwd', 'sha256:abababababababababababababababababababababababababababababababab', 1, 1);
insert into Refs values (1, 2);
