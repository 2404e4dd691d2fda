use super::super::table::tests::routes;
use super::Instead;
use crate::route::Reading;

#[test]
fn routes_that_get_nothing_are_named_and_no_others() {
    type Row = (&'static str, &'static [&'static str], &'static [(usize, Instead)]);
    let table: [Row; 15] = [
        ("a usual table", &["/", "/{*rest}", "/a/{b}", "/a/b", "[GET] /a/b", "[POST] /a/b", "/a"], &[]),
        ("twins in case", &["/admin", "/Admin"], &[(1, Instead::Nobody(0, Reading::CaseFolded))]),
        ("twins in case, exactly", &["/admin", "/Admin exact"], &[]),
        ("twins in slash", &["/docs/", "/docs"], &[(0, Instead::Nobody(1, Reading::NoTrailingSlash))]),
        ("a tail beside its bare path", &["/docs/{*rest}", "/docs"], &[]),
        ("twins in slash with other methods", &["[POST] /docs/", "[GET] /docs"], &[]),
        ("every method named elsewhere", &["/a", "[GET,POST,PUT,PATCH,DELETE,OPTIONS] /a"], &[(0, Instead::Route(1))]),
        ("all but one", &["/a", "[GET,POST,PUT,PATCH,DELETE] /a"], &[]),
        ("HEAD of its own", &["[GET] /a", "[HEAD] /a"], &[]),
        ("more predicates", &["/a", "/a header:x=1", "/a header:y=1 query:q=1", "[GET] /a header:x=1"], &[]),
        ("hosts", &["api.example.com/a", "*.example.com/a", "/a"], &[]),
        (
            "a tail in pieces",
            &["/c/{*rest}", "/c", "/c/", "/c/{id}/{*rest}"],
            &[(0, Instead::Route(1)), (2, Instead::Nobody(1, Reading::NoTrailingSlash))],
        ),
        ("a tail but for its slash", &["/c/{*rest} exact", "/c exact", "/c/{id}/{*rest} exact"], &[]),
        ("a tail and one segment", &["/c/{*rest}", "/c/{id}", "/c/{id}/{x}"], &[]),
        ("words of the patterns", &["/x/{a}", "/xq/{*rest}", "/{a}/{b}", "/{a}/x"], &[]),
    ];
    for (name, texts, expected) in table {
        assert_eq!(routes(texts).never_found(), expected, "{name}");
    }
}
