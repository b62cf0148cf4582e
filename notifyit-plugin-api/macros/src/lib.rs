//! The `#[config]` attribute of `notifyit-plugin-api`, which re-exports it.

use proc_macro::TokenStream;
use quote::quote;
use syn::{DeriveInput, parse_macro_input, parse_quote};

mod schema;

/// Makes a struct (or an enum: a part of one) a plugin's configuration.
///
/// It derives serde's `Deserialize`, so serde's own attributes work on it (`#[serde(default)]`, …). Keys that it
/// does not have are refused, at any depth, with one exception: where serde reads ahead (a struct with a
/// `#[serde(flatten)]` field, an enum with `#[serde(tag = "…")]` or `#[serde(untagged)]`) it lets unknown keys pass.
/// Write `#[serde(deny_unknown_fields)]` on such a type.
///
/// It derives a JSON schema, too, which the library tells the host: so a user learns of a wrong key or value with its
/// line and column, from `notifyit check` too, and `notifyit plugin inspect` writes an example. A doc comment describes
/// its key there.
///
/// ```ignore
/// #[config]
/// struct Config {
///     /// Larger files are rejected, in bytes.
///     max_bytes: Option<u64>,
///     /// What to do with the others.
///     #[serde(default)]
///     mode: Mode,
/// }
///
/// #[config]
/// #[derive(Default)]
/// enum Mode {
///     #[default]
///     Count,
///     Sum,
/// }
/// ```
///
/// What a field of another type may be (one with a `Deserialize` alone) and what `#[serde(deserialize_with = "…")]`
/// reads, the schema does not say: the host lets anything pass there, and `new` has the last word. So `#[config]` on the
/// types within a configuration is worth its line. A default is told if serde can write its type. `#[schemars(…)]`
/// attributes work on fields, as in `#[schemars(range(max = 9))]`; they promise what `new` is to hold, for a value that
/// the schema does not allow never gets there. The types of a generic configuration must have a schema.
#[proc_macro_attribute]
pub fn config(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        let message = "`#[config]` takes no arguments; serde's attributes go on the fields";
        return syn::Error::new(proc_macro2::Span::call_site(), message).into_compile_error().into();
    }
    let mut item = parse_macro_input!(item as DeriveInput);
    let parts = schema::annotate(&mut item);
    let name = &item.ident;
    let mut generics = item.generics.clone();
    if !generics.params.is_empty() {
        let where_clause = generics.make_where_clause();
        where_clause.predicates.push(parse_quote!(Self: ::notifyit_plugin_api::serde::de::DeserializeOwned));
        where_clause
            .predicates
            .push(parse_quote!(Self: ::notifyit_plugin_api::__private::schemars::JsonSchema));
    }
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    quote! {
        #[derive(::notifyit_plugin_api::serde::Deserialize, ::notifyit_plugin_api::__private::schemars::JsonSchema)]
        #[serde(crate = "::notifyit_plugin_api::serde")]
        #[schemars(crate = "::notifyit_plugin_api::__private::schemars")]
        #item

        #parts

        impl #impl_generics ::notifyit_plugin_api::Config for #name #type_generics #where_clause {
            fn from_json(json: &str) -> ::notifyit_plugin_api::Result<Self> {
                ::notifyit_plugin_api::__private::read(json)
            }

            fn schema() -> ::core::option::Option<::notifyit_plugin_api::serde_json::Value> {
                ::core::option::Option::Some(::notifyit_plugin_api::__private::schema::of::<Self>())
            }
        }
    }
    .into()
}
