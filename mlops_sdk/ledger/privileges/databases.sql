-- The databases, once a server. From template0: their encoding does not depend on how the server was made.
CREATE DATABASE mlflow OWNER mlflow TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE source OWNER source_owner TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE :"app" TEMPLATE template0 ENCODING 'UTF8';
