create virtual table ValidPaths using fts5(id, path, hash, narSize);
create table Refs (referrer, reference);
