create table x (y);
